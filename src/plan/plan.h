/* SPDX-License-Identifier: MIT
 *
 * The plan: options with their defaults, the kernels, and everything derived from them once.
 */
#ifndef VATTN_PLAN_H
#define VATTN_PLAN_H

#include <string.h>

#include "vattn.h"
#include "base/row.h"
#include "kernels/kernels.h"
#include "plan/cost.h"
#include "verify/quantile.h"

#define VATTN_LOG2E 1.4426950408889634

struct vattn_plan {
    struct vattn_options opt;
    const struct vattn_kernels * kern;
    int32_t group;     /* query heads per KV head */
    float q_scale;     /* scale * log2(e): scores come out in log2 units */
    double delta_head; /* delta of one test, after the split of scope token */
    double x;          /* eps / (1 + eps): what the estimate is compared with */
    struct vattn_cost cost;
    struct vattn_quantile quantile; /* of F, at 1 - delta_head */
};

/* Kernels by type of rows. */
static inline void vattn_plan_score(const struct vattn_plan * p, const struct vattn_rows * rows, const float * q,
                                    int32_t n_heads, float * out, ptrdiff_t ld) {
    p->kern->score[p->opt.k_type](rows, q, n_heads, p->opt.head_dim, out, ld);
}

/* The same of rows of the type of the values. */
static inline void vattn_plan_score_values(const struct vattn_plan * p, const struct vattn_rows * rows, const float * q,
                                           int32_t n_heads, float * out, ptrdiff_t ld) {
    p->kern->score[p->opt.v_type](rows, q, n_heads, p->opt.v_dim, out, ld);
}

static inline void vattn_plan_accumulate(const struct vattn_plan * p, const struct vattn_rows * rows,
                                         const float * weight, ptrdiff_t ld, int32_t n_heads, float * acc) {
    p->kern->accumulate[p->opt.v_type](rows, weight, ld, n_heads, p->opt.v_dim, acc);
}

static inline void vattn_plan_distance(const struct vattn_plan * p, const struct vattn_rows * rows,
                                       const float * center, int32_t n_heads, float * dist2, ptrdiff_t ld) {
    p->kern->distance[p->opt.v_type](rows, center, n_heads, p->opt.v_dim, dist2, ld);
}

static inline void vattn_plan_offset(const struct vattn_plan * p, const struct vattn_rows * rows,
                                     const struct vattn_rows * centers, float * dist2, float * out) {
    p->kern->offset[p->opt.v_type](rows, centers, p->opt.v_dim, dist2, out, p->opt.v_dim);
}

/* One row (n = 1) as floats. */
static inline void vattn_plan_key(const struct vattn_plan * p, const struct vattn_rows * row, float * out) {
    static const float one = 1.0F;
    memset(out, 0, (size_t)p->opt.head_dim * sizeof *out);
    p->kern->accumulate[p->opt.k_type](row, &one, 1, 1, p->opt.head_dim, out);
}

static inline void vattn_plan_value(const struct vattn_plan * p, const struct vattn_rows * row, float * out) {
    static const float one = 1.0F;
    memset(out, 0, (size_t)p->opt.v_dim * sizeof *out);
    vattn_plan_accumulate(p, row, &one, 1, 1, out);
}

/* Rows of KV head g. */
static inline struct vattn_rows vattn_k_rows(const struct vattn_kv * kv, int32_t g) {
    return (struct vattn_rows){.base = (const char *)kv->k + (size_t)g * kv->k_head_stride, .stride = kv->k_row_stride};
}

static inline struct vattn_rows vattn_v_rows(const struct vattn_kv * kv, int32_t g) {
    return (struct vattn_rows){.base = (const char *)kv->v + (size_t)g * kv->v_head_stride, .stride = kv->v_row_stride};
}

#endif
