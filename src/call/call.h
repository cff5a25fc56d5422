/* SPDX-License-Identifier: MIT
 *
 * One call: a state machine over phases of independent tasks (flow.h), living in scratch memory of the caller.
 */
#ifndef VATTN_CALL_H
#define VATTN_CALL_H

#include "base/scratch.h"
#include "call/flow.h"
#include "combine/partial.h"
#include "plan/plan.h"

struct vattn_sparse;
struct vattn_strict;
struct vattn_paper;

struct vattn_call {
    const struct vattn_plan * plan;
    struct vattn_input in;
    enum vattn_phase phase;      /* BEGIN before the first task, END after the last; in lock step the flows' */
    struct vattn_flow * flows;   /* [n_kv_heads] */
    int32_t n_flows;             /* 0 where nothing is visible */
    bool whole;                  /* one flow has all KV heads */
    _Atomic(int32_t) n_running;  /* flows that are not at their end */
    _Atomic(int32_t) n_awaited;  /* scope layer: flows on their way to the verdict */
    _Atomic(int32_t) n_workers;
    int64_t n_visible;
    int64_t chunk;               /* rows per dense task */
    int32_t n_chunks;
    float * q;                   /* [n_heads][head_dim], times q_scale */
    float * partials;            /* [n_chunks][partial of all heads] */
    uint8_t * dense;             /* [n_kv_heads] KV heads that are computed densely */
    struct vattn_certificate * cert; /* [n_heads], always kept; copied out at the end */
    bool keeps_claims;            /* evidence is completed for vattn_call_claim() */
    bool sparse_used;             /* this call went through the sparse or the strict path */
    struct vattn_sparse * sparse; /* method sparse */
    struct vattn_strict * strict; /* method sparse-strict */
    struct vattn_paper * paper;   /* the methods of comparison */
};

static inline const float * vattn_call_q(const struct vattn_call * c, int32_t kv_head) {
    return c->q + (size_t)kv_head * (size_t)c->plan->group * (size_t)c->plan->opt.head_dim;
}

static inline float * vattn_call_out(const struct vattn_call * c, int32_t head) {
    size_t stride = c->in.out_head_stride != 0 ? c->in.out_head_stride : (size_t)c->plan->opt.v_dim * sizeof(float);
    return (float *)(void *)((char *)c->in.out + (size_t)head * stride);
}

/* Partial results of the group of one KV head within one chunk. */
static inline struct vattn_partial vattn_call_partial(const struct vattn_call * c, int32_t chunk, int32_t kv_head) {
    int32_t heads = c->plan->opt.n_heads, v_dim = c->plan->opt.v_dim;
    float * base = c->partials + (size_t)chunk * vattn_partial_floats(heads, v_dim);
    return vattn_partial_view(base, heads, v_dim, kv_head * c->plan->group);
}

#endif
