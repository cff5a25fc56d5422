/* SPDX-License-Identifier: MIT
 *
 * The AVX-512 kernels, compiled against scalar/immintrin.h, against their twins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../kernels/check_kernels.h"

static void avx512_lane_by_lane_agrees_with_the_twins(void ** state) {
    (void)state;
    assert_int_equal(check_kernels(&vattn_kernels_avx512, true, false), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(avx512_lane_by_lane_agrees_with_the_twins)};
    return cmocka_run_group_tests_name("AVX-512, lane by lane", tests, NULL, NULL);
}
