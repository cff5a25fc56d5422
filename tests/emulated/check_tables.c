/* SPDX-License-Identifier: MIT
 *
 * The kernel checks of every table that the processor supports, as a program without libraries: for emulated processors
 * and for builds with other flags.
 *
 *     check_tables [NAME [long]]      NAME: the table that the dispatch must pick; long: all shapes instead of a tenth
 */
#include <stdio.h>
#include <string.h>

#include "../kernels/check_kernels.h"

int main(int argc, char ** argv) {
    const char * picked = vattn_kernels_pick(0)->name;
    const char * expected = argc > 1 ? argv[1] : picked;
    const bool is_long = argc > 2 && strcmp(argv[2], "long") == 0;
    const uint32_t all_tiers = VATTN_TIER_AVX512 | VATTN_TIER_AVX2 | VATTN_TIER_NEON;
    const struct vattn_kernels * table;
    int32_t failures = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int32_t i = 0; (table = vattn_kernels_supported(i)) != NULL; i++) {
        failures += check_kernels(table, !is_long, false);
    }
    if (strcmp(picked, expected) != 0 || vattn_kernels_pick(all_tiers) != &vattn_kernels_generic) {
        printf("FAIL dispatch: picked %s, expected %s; without tiers %s\n", picked, expected,
               vattn_kernels_pick(all_tiers)->name);
        failures++;
    }
    return failures != 0;
}
