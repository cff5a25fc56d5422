/* SPDX-License-Identifier: MIT
 *
 * Compare one table of kernels with its twins in ref/.  Needs no test framework, so that it also runs where
 * only a C library is at hand (tests/emulated/check_tables.c).
 */
#ifndef CHECK_KERNELS_H
#define CHECK_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"

struct check {
    const struct vattn_kernels * kernels;
    bool quiet;     /* count failures without printing: planted defects */
    bool short_run; /* a tenth of the shapes: emulators */
    uint64_t rng;
    int32_t n_checks; /* comparisons of a whole call */
    int32_t n_failures;
};

void check_score(struct check * check);
void check_accumulate(struct check * check);
void check_distance(struct check * check);
void check_offset(struct check * check);
void check_max(struct check * check);
void check_exp2_sum(struct check * check);
void check_scan(struct check * check);
void check_design(struct check * check);
void check_select(struct check * check);
void check_thin(struct check * check);

/* All of the above; the number of failures. */
int32_t check_kernels(const struct vattn_kernels * kernels, bool short_run, bool quiet);

#endif
