/* SPDX-License-Identifier: MIT
 *
 * A sample of T that prefers rows with high scores: sequential Poisson sampling (Ohlsson, J. Official Statistics 14, 1998;
 * "priority sampling" of Duffield, Lund, Thorup, J. ACM 54, 2007).  With r_i = |F| + rank of row i by the selector's score
 * (1 = best; equal scores share the mean of their ranks) and u_i uniform on (0, 1),
 *
 *     place_i = u_i r_i,   the sample = the b rows of least place,   pi_i = min(1, tau / r_i),   tau = the place that follows
 *
 * tau of a row of the sample is what it would be without that row, so given all other u's row i is in with probability pi_i, and
 * sum e_i / pi_i is unbiased whatever e is; its errors at different rows are uncorrelated, with
 *
 *     Var = E sum_sample (e_i / pi_i)^2 (1 - pi_i)
 *
 * Why 1 / r: the heaviest rows are in F, behind them the expected weight falls with the rank, for most heads about like this;
 * no scale of the scores is needed, which differ from kind to kind; and the last row still has pi = b / (n log(n / |F|)) or so,
 * a logarithm below a uniform sample's, so a selector that is wrong costs little.
 *
 * Pooled (paper_shared): the u_i are the group's, and every head uses all rows that some head of its group read, each weighted by
 * 1 / max over the heads of pi_i: given the other u's, row i is read exactly if u_i is below that.
 */
#ifndef VATTN_PAPER_SCORES_H
#define VATTN_PAPER_SCORES_H

#include "paper/budget.h"
#include "paper/head.h"

struct vattn_ticket {
    double place;
    double rank;   /* r_i */
    double d2, n2; /* of the pilot: e^2 / pi and ||e v||^2 / pi */
    int32_t row;
};

/* All rows of T behind F, by their places. */
void vattn_scores_draw(struct vattn_head * h);

/* The pilot: what D and N are, and its part in their errors. */
void vattn_scores_measure(struct vattn_head * h, int64_t pilot);

/* Sizes of the errors of D and N with b rows, sd / D and sd / ||N||, from what the pilot measured. */
struct vattn_spread vattn_scores_spread(const struct vattn_head * h, int64_t pilot, int64_t b);

/* 1 / pi_i of the b rows behind F. */
void vattn_scores_weigh(struct vattn_head * h, int64_t b);

/* Do heads use what others of their group read? */
static inline bool vattn_scores_pooled(const struct vattn_plan * plan) {
    return plan->opt.paper_by_scores && plan->opt.paper_shared;
}

/* inclusion = max(inclusion, pi_i) for all visible rows, of a head that has drawn. */
void vattn_scores_include(struct vattn_head * h);

/* The output from every row that the group read. */
void vattn_scores_pool(struct vattn_head * h);

#endif
