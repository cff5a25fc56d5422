/* SPDX-License-Identifier: MIT
 * Coverage of one (capture, step): many draws of the whole procedure, each compared with the truth.
 *
 * A case is what the promise is about: each head, or in scope layer the whole call; in scope token each head, and then
 * all heads of the call together, which may miss as often as their shares of delta add up to.  Cases are never pooled.
 *
 * Beside the misses a case keeps how good its claims were.  The certificate says that  T = max(0, |error| - bias)^2 / V
 * is distributed no wider than F(nu, 2 neff), each draw with its own V, bias, nu and neff; the rank of a draw is
 * P(F > T).  Ranks are uniform where the claim is exact, pile up near 1 where it is careful, and near 0 where it lies.
 *
 * The methods of the vAttention paper promise a denominator D = sum exp(scale <q, k>) or a numerator N = D o within eps;
 * how often these miss stands beside the misses of the output. */
#ifndef VATTN_TOOLS_COVERAGE_H
#define VATTN_TOOLS_COVERAGE_H

#include "progress.h"
#include "subject.h"
#include "truth.h"

/* What one draw did to one case. */
struct outcome {
    float error;    /* true relative error; of all heads together the largest */
    float rank;     /* P(F > T); -1 where nothing is claimed by this theory */
    float d_error;  /* of one head: estimate of D / D - 1 */
    float n_error;  /* of one head: relative error of the numerator */
    uint8_t answer; /* enum vattn_answer */
    bool partly;    /* rows were left out: another draw would leave out others */
    bool beyond;    /* the error exceeds the bound that the certificate states */
};

enum { RANK_BINS = 20 };

/* A run of draws: outcomes [draws][n_cases]; readings [draws]; row fractions [draws][n_kv_heads]. */
struct draw_table {
    int64_t draws, n_keys;
    int32_t n_cases, n_heads, n_kv_heads;
    struct outcome * outcome;
    struct reading * reading;
    float * rows_kv_fraction;
};

/*
 * Make draws first … first+draws-1 on `threads` threads; the table does not depend on their number.
 *   truth   of the subject's step
 *   scope   what a case is
 */
struct draw_table draw_table_run(const struct subject * subject, const struct truth * truth,
                                 enum vattn_scope scope, int64_t first, int64_t draws, int threads, struct progress * progress);
void draw_table_free(struct draw_table * table);

/* The verdict on one case. */
struct case_result {
    int capture;        /* number in the list of captures */
    int32_t step, head; /* head -1: all of them */
    bool joint;         /* scope token: any head of the call */
    int64_t n;
    int64_t draws, misses, uncertified, exact;
    int64_t draws2, misses2; /* second stage, 0 if there was none */
    double rows_kv_fraction, mean_error, max_error, error_q95;
    int64_t rank[RANK_BINS]; /* draws whose rank lies in [b, b + 1) / RANK_BINS */
    int64_t ranked, beyond;  /* draws with a rank; certified draws beyond their own bound */
    int64_t d_misses, n_misses; /* of one head: draws whose denominator or numerator is off by more than eps */
    double d_bias;              /* of one head: mean of the estimate of D / D - 1 */
    double tail;                /* of one head: see truth.h */
    int64_t partly, different; /* draws that left rows out; different errors among them */
    bool suspect, failed;    /* after stage 1; at the end */
    bool repeats;            /* sampled draws repeat one another: their random numbers do not differ */
};

/* How many cases a call gives. */
int32_t cases_of_call(const struct capture * capture, enum vattn_scope scope);

/* Condense column `number` of the table; a miss is an error above eps, whatever the answer claims. */
struct case_result case_condense(const struct draw_table * table, int32_t number, double eps);

#endif
