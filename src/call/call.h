/* SPDX-License-Identifier: MIT
 *
 * One call: a state machine over phases of independent tasks, living in scratch memory of the caller.
 *
 *     exact:   DENSE (row chunks) -> FINISH (KV heads)
 *     sparse:  PREPARE (KV heads) -> SCAN (KV heads x row chunks) -> DESIGN (KV heads)
 *              -> [ GATHER (KV heads x row chunks) -> JUDGE (KV heads x head blocks) -> DESIGN ... ] until all are done
 *              -> DENSE for the KV heads that fell back -> FINISH
 *     the methods of comparison: PAPER (KV heads) -> FINISH
 */
#ifndef VATTN_CALL_H
#define VATTN_CALL_H

#include "base/scratch.h"
#include "combine/partial.h"
#include "plan/plan.h"

enum vattn_phase {
    VATTN_PHASE_BEGIN,
    VATTN_PHASE_PREPARE,
    VATTN_PHASE_SCAN,
    VATTN_PHASE_DESIGN,
    VATTN_PHASE_GATHER,
    VATTN_PHASE_JUDGE,
    VATTN_PHASE_PAPER,
    VATTN_PHASE_DENSE,
    VATTN_PHASE_FINISH,
    VATTN_PHASE_END
};

struct vattn_sparse;
struct vattn_paper;

struct vattn_call {
    const struct vattn_plan * plan;
    struct vattn_input in;
    enum vattn_phase phase;
    enum vattn_status status;
    int64_t n_visible;
    int64_t chunk;               /* rows per dense task */
    int32_t n_chunks;
    float * q;                   /* [n_heads][head_dim], times q_scale */
    float * partials;            /* [n_chunks][partial of all heads] */
    uint8_t * dense;             /* [n_kv_heads] KV heads that are computed densely */
    uint8_t * dense_done;        /* [n_kv_heads] by FINISH */
    struct vattn_certificate * cert; /* [n_heads], always kept; copied out at the end */
    bool sparse_used;             /* this call went through the sparse path */
    struct vattn_sparse * sparse; /* method sparse */
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
