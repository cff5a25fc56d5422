/* SPDX-License-Identifier: MIT
 *
 * A synthetic layer for tests: keys with correlated coordinates and outlier channels, queries that prefer some of
 * them, values with a common component.  Scores are heavy-tailed like those of real heads.
 */
#ifndef VATTN_TEST_LAYER_H
#define VATTN_TEST_LAYER_H

#include "vattn.h"

struct layer {
    struct vattn_options options;
    struct vattn_plan * plan;
    struct vattn_index * index;
    struct vattn_kv kv;
    void *k, *v;          /* rows of k_type and v_type, [n][n_kv_heads][dim] as a cache keeps them */
    float *k32, *v32;     /* the same values as stored, f32 */
    float *q, *out;
    float * moment;       /* [n_kv_heads][head_dim][head_dim] */
    void * work;
    size_t work_bytes;
    struct vattn_certificate * cert;
};

/* Options with shapes set; change them before layer_make. */
struct vattn_options layer_options(int32_t n_heads, int32_t n_kv_heads, int32_t head_dim, int64_t n);
void layer_make(struct layer * l, const struct vattn_options * options, uint64_t seed);
void layer_index(struct layer * l);
void layer_free(struct layer * l);
struct vattn_input layer_input(struct layer * l, uint64_t nonce);

/* Double-precision attention of head h; out: [v_dim]. */
void layer_truth(const struct layer * l, int32_t h, double * out);
/* Largest relative error of l->out over heads. */
double layer_error(const struct layer * l);

#endif
