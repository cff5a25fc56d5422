/* SPDX-License-Identifier: MIT
 *
 * The AVX-512 kernels and the scan with AVX-VNNI, compiled against scalar/immintrin.h, against their twins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../kernels/check_kernels.h"
#include "kernels/x86/x86.h"

static void avx512_lane_by_lane_agrees_with_the_twins(void ** state) {
    (void)state;
    assert_int_equal(check_kernels(&vattn_kernels_avx512, true, false), 0);
}

static void avxvnni_lane_by_lane_agrees_with_the_twin(void ** state) {
    (void)state;
#if defined(VATTN_HAVE_AVXVNNI)
    struct vattn_kernels table = vattn_kernels_generic;
    table.name = "scan of avx2-vnni";
    table.scan = vattn_scan_avxvnni;
    assert_int_equal(check_kernels(&table, true, false), 0);
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(avx512_lane_by_lane_agrees_with_the_twins),
                                       cmocka_unit_test(avxvnni_lane_by_lane_agrees_with_the_twin)};
    return cmocka_run_group_tests_name("AVX-512 and AVX-VNNI, lane by lane", tests, NULL, NULL);
}
