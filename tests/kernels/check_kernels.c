/* SPDX-License-Identifier: MIT
 *
 * Every buffer ends (or begins) at an inaccessible page, outputs lie between canaries, inputs are heavy-tailed, tiny,
 * alternating or with infinities, and error budgets are counted in roundings and scaled by the conditioning
 * (the sum of magnitudes), so a kernel may be inexact but not wrong.
 */
#include "check_kernels.h"

#include <stdio.h>

int32_t check_kernels(const struct vattn_kernels * kernels, bool short_run, bool quiet) {
    struct check check = {kernels, quiet, short_run, 20261124, 0, 0};
    check_score(&check);
    check_accumulate(&check);
    check_distance(&check);
    check_offset(&check);
    check_max(&check);
    check_exp2_sum(&check);
    check_scan(&check);
    check_design(&check);
    check_select(&check);
    check_thin(&check);
    if (!quiet) {
        printf("%s: %d checks, %d failures\n", kernels->name, check.n_checks, check.n_failures);
    }
    return check.n_failures;
}
