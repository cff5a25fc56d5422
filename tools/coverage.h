/* SPDX-License-Identifier: MIT
 * Coverage of one (capture, step): many draws of the whole procedure, each compared with the truth.
 *
 * A case is what the promise is about: each head, or in scope layer the whole call.  Cases are never pooled. */
#ifndef VATTN_TOOLS_COVERAGE_H
#define VATTN_TOOLS_COVERAGE_H

#include "progress.h"
#include "subject.h"

/* What one draw did to one case. */
struct outcome {
    float error;    /* true relative error */
    uint8_t answer; /* enum vattn_answer */
};

/* A run of draws: outcomes [draws][n_cases]; readings [draws]; row fractions [draws][n_kv_heads]. */
struct draw_table {
    int64_t draws;
    int32_t n_cases, n_kv_heads;
    struct outcome * outcome;
    struct reading * reading;
    float * rows_kv_fraction;
};

/*
 * Make draws first … first+draws-1 on `threads` threads; the table does not depend on their number.
 *   truth   [n_heads][v_dim] of the subject's step
 *   layer   one case for the call instead of one per head
 */
struct draw_table draw_table_run(const struct subject * subject, const double * truth, bool layer, int64_t first,
                                 int64_t draws, int threads, struct progress * progress);
void draw_table_free(struct draw_table * table);

/* The verdict on one case. */
struct case_result {
    int capture;        /* number in the list of captures */
    int32_t step, head; /* head -1 in scope layer */
    int64_t n;
    int64_t draws, misses, uncertified, exact;
    int64_t draws2, misses2; /* second stage, 0 if there was none */
    double rows_kv_fraction, mean_error, max_error, error_q95;
    bool suspect, failed; /* after stage 1; at the end */
};

/* Condense column `number` of the table; a miss is an error above eps, whatever the answer claims. */
struct case_result case_condense(const struct draw_table * table, int32_t number, double eps);

#endif
