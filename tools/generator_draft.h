/* SPDX-License-Identifier: MIT
 * What generators work on: a layer that is not yet written down. */
#ifndef VATTN_TOOLS_GENERATOR_DRAFT_H
#define VATTN_TOOLS_GENERATOR_DRAFT_H

#include "generator.h"

enum { DRAFT_MOST_STEPS = 16 };

/* A stream of random numbers of its own for every row and every query. */
struct random {
    uint64_t state;
};

/*
 * The usual layer, which every generator starts from:
 *   k_j = key_mean_j + key_sd_j z      v_j = v_mean_j + v_sd_j z      q_j = q_sd_j z,  z normal
 * with q_sd scaled so that scale <q, k> has standard deviation `spread` (nats) over keys, on average over queries.
 */
struct draft {
    int64_t n;
    int32_t d, group, kv_heads, n_heads, steps;
    uint64_t seed;
    float scale;
    double spread;
    float *key_mean, *key_sd, *v_mean, *v_sd, *q_sd; /* [d]; q_sd only relative before the queries are drawn */
    float * q;                                       /* [steps][n_heads][d] */
    float * moment;                                  /* [kv_heads][d][d] */
    int32_t visible[DRAFT_MOST_STEPS];               /* keys that a step sees */
    int64_t calibrate_rows;                          /* 0 = all */
};

double random_uniform(struct random * random); /* in (0, 1) */
double random_normal(struct random * random);

/* Query of a head of step 0. */
static inline const float * draft_query(const struct draft * draft, int32_t head) {
    return draft->q + (size_t)head * (size_t)draft->d;
}

#endif
