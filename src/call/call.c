/* SPDX-License-Identifier: MIT */
#include "call/call.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "exact/dense.h"
#include "paper/paper.h"
#include "sparse/sparse.h"
#include "strict/strict.h"

/* -------------------------------------------------------------------------------------------------------- scratch */

static struct vattn_call * layout(const struct vattn_plan * plan, struct vattn_scratch * s, int64_t n_keys,
                                  const struct vattn_selector * selector) {
    const struct vattn_options * o = &plan->opt;
    size_t heads = (size_t)o->n_heads;
    int64_t chunk = vattn_dense_chunk(n_keys);
    size_t chunks = (size_t)((n_keys + chunk - 1) / chunk);
    struct vattn_call * c = vattn_scratch_take(s, 1, sizeof *c);
    float * q = vattn_scratch_take(s, heads * (size_t)o->head_dim, sizeof(float));
    float * partials = vattn_scratch_take(s, chunks * vattn_partial_floats(o->n_heads, o->v_dim), sizeof(float));
    uint8_t * dense = vattn_scratch_take(s, (size_t)o->n_kv_heads, 1);
    struct vattn_flow * flows = vattn_scratch_take(s, (size_t)o->n_kv_heads, sizeof *flows);
    struct vattn_certificate * cert = vattn_scratch_take(s, heads, sizeof *cert);
    struct vattn_sparse * sparse = o->method == VATTN_METHOD_SPARSE ? vattn_sparse_layout(plan, s, n_keys) : NULL;
    struct vattn_strict * strict =
        o->method == VATTN_METHOD_SPARSE_STRICT ? vattn_strict_layout(plan, s, n_keys) : NULL;
    struct vattn_paper * paper = vattn_paper_serves(o->method) ? vattn_paper_layout(plan, s, n_keys, selector) : NULL;
    if (c != NULL) {
        *c = (struct vattn_call){.plan = plan,
                                 .chunk = chunk,
                                 .n_chunks = (int32_t)chunks,
                                 .q = q,
                                 .flows = flows,
                                 .partials = partials,
                                 .dense = dense,
                                 .cert = cert,
                                 .sparse = sparse,
                                 .strict = strict,
                                 .paper = paper};
    }
    return c;
}

size_t vattn_call_bytes(const struct vattn_plan * plan) {
    struct vattn_scratch s = {NULL, 0};
    layout(plan, &s, plan->opt.max_keys, NULL);
    return s.used;
}

size_t vattn_selector_call_bytes(const struct vattn_plan * plan, const struct vattn_selector * selector) {
    struct vattn_scratch s = {NULL, 0};
    layout(plan, &s, plan->opt.max_keys, selector);
    return s.used;
}

/* ---------------------------------------------------------------------------------------------------------- begin */

static enum vattn_status scale_queries(struct vattn_call * c) {
    int32_t dim = c->plan->opt.head_dim;
    size_t stride = c->in.q_head_stride != 0 ? c->in.q_head_stride : (size_t)dim * sizeof(float);
    bool finite = true;
    for (int32_t h = 0; h < c->plan->opt.n_heads; h++) {
        const float * from = (const float *)(const void *)((const char *)c->in.q + (size_t)h * stride);
        float * to = c->q + (size_t)h * (size_t)dim;
        for (int32_t d = 0; d < dim; d++) {
            to[d] = from[d] * c->plan->q_scale;
            finite = finite && isfinite(to[d]);
        }
    }
    return finite ? VATTN_STATUS_OK : VATTN_STATUS_NOT_FINITE;
}

static bool input_fits(const struct vattn_plan * plan, const struct vattn_input * in) {
    if (in == NULL || in->kv == NULL || in->q == NULL || in->out == NULL) {
        return false;
    }
    const struct vattn_kv * kv = in->kv;
    size_t k_bytes = vattn_row_size(plan->opt.k_type, plan->opt.head_dim);
    size_t v_bytes = vattn_row_size(plan->opt.v_type, plan->opt.v_dim);
    return kv->n_keys >= 0 && kv->n_keys <= plan->opt.max_keys &&
           (kv->n_keys == 0 || (kv->k != NULL && kv->v != NULL)) &&
           (kv->n_keys <= 1 || (kv->k_row_stride >= k_bytes && kv->v_row_stride >= v_bytes)) && in->layer >= 0 &&
           in->layer < 16384 &&
           (!vattn_paper_serves(plan->opt.method) || vattn_paper_selector_fits(plan, in->selector));
}

enum vattn_status vattn_call_begin(const struct vattn_plan * plan, const struct vattn_input * input, void * work,
                                   size_t work_bytes, struct vattn_call ** call) {
    if (plan == NULL || call == NULL || work == NULL || !input_fits(plan, input)) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    struct vattn_scratch s = {NULL, 0};
    layout(plan, &s, input->kv->n_keys, input->selector);
    if ((uintptr_t)work % VATTN_ALIGN != 0 || s.used > work_bytes) {
        return VATTN_STATUS_NO_MEMORY;
    }
    s = (struct vattn_scratch){work, 0};
    struct vattn_call * c = layout(plan, &s, input->kv->n_keys, input->selector);
    c->in = *input;
    c->phase = VATTN_PHASE_BEGIN;
    c->keeps_claims = false;
    c->n_visible = vattn_count(input->kv->visible, input->kv->n_keys);
    enum vattn_status status = scale_queries(c);
    if (status != VATTN_STATUS_OK) {
        return status;
    }
    vattn_flow_start(c);
    *call = c;
    return VATTN_STATUS_OK;
}

/* ---------------------------------------------------------------------------------------------------------- tasks */

/* The last tile is apart: only then can one say which chunk this thread is going to get. */
void vattn_call_dense(struct vattn_call * c, int32_t first_head, int32_t n_heads, int32_t chunk) {
    int64_t begin = chunk * c->chunk, end = begin + c->chunk;
    end = end < c->in.kv->n_keys ? end : c->in.kv->n_keys;
    const int64_t last = (end - 1) / 64 * 64;
    struct vattn_partial partial = vattn_call_partial(c, chunk, 0);
    for (int32_t g = first_head; g < first_head + n_heads; g++) {
        vattn_partial_clear(vattn_call_partial(c, chunk, g), c->plan->group);
    }
    vattn_dense_rows(c->plan, c->in.kv, c->q, first_head, n_heads, begin, last, last, partial);
    const int64_t then = vattn_flow_upcoming(&c->flows[first_head], chunk) * c->chunk;
    vattn_dense_rows(c->plan, c->in.kv, c->q, first_head, n_heads, last, end, then, partial);
}

static void certify_exact(struct vattn_call * c, int32_t g) {
    const struct vattn_options * o = &c->plan->opt;
    size_t row = vattn_row_size(o->k_type, o->head_dim) + vattn_row_size(o->v_type, o->v_dim);
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        struct vattn_certificate * cert = &c->cert[h];
        cert->answer = VATTN_ANSWER_EXACT;
        cert->n_keys = cert->rows_kv = c->n_visible;
        cert->bytes = c->n_visible * (int64_t)row;
        if (c->sparse_used) { /* what the attempt had read before it fell back */
            int64_t rows_k, bytes;
            if (c->strict != NULL) {
                vattn_strict_account(c, g, &rows_k, &bytes);
                cert->rounds = c->strict->groups[g].looks;
            } else {
                vattn_sparse_account(c, g, &rows_k, &bytes);
                cert->rounds = c->sparse->groups[g].looks;
            }
            cert->bytes += bytes;
        }
        cert->error = 0.0F;
        cert->bound = 1e-5F;
    }
}

void vattn_call_finish(struct vattn_call * c, int32_t g) {
    if (!c->dense[g]) {
        if (c->sparse != NULL) {
            vattn_sparse_finish(c, g);
        } else if (c->strict != NULL) {
            vattn_strict_finish(c, g);
        }
        return;
    }
    struct vattn_partial sum = vattn_call_partial(c, 0, g);
    for (int32_t i = 0; i < c->plan->group; i++) {
        for (int32_t chunk = 1; chunk < c->n_chunks; chunk++) {
            vattn_partial_add(sum, vattn_call_partial(c, chunk, g), i);
        }
        vattn_partial_output(sum, i, vattn_call_out(c, g * c->plan->group + i));
    }
    certify_exact(c, g);
}

/* Nothing visible: the output is zero, as for a row of which everything is masked. */
void vattn_call_finish_empty(struct vattn_call * c) {
    for (int32_t g = 0; g < c->plan->opt.n_kv_heads; g++) {
        certify_exact(c, g);
        for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
            memset(vattn_call_out(c, h), 0, (size_t)c->plan->opt.v_dim * sizeof(float));
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------ end */

enum vattn_status vattn_call_end(struct vattn_call * c) {
    const struct vattn_options * o = &c->plan->opt;
    enum vattn_status status = VATTN_STATUS_OK;
    c->phase = VATTN_PHASE_END;
    if (c->strict != NULL && o->scope == VATTN_SCOPE_LAYER) {
        vattn_strict_join(c);
    }
    if (c->sparse != NULL && c->sparse_used) {
        vattn_sparse_settle(c);
    }
    for (int32_t h = 0; h < o->n_heads; h++) {
        const float * out = vattn_call_out(c, h);
        for (int32_t d = 0; d < o->v_dim; d++) {
            if (!isfinite(out[d])) {
                status = VATTN_STATUS_NOT_FINITE;
            }
        }
        if (c->cert[h].answer == VATTN_ANSWER_UNCERTIFIED && status == VATTN_STATUS_OK) {
            status = VATTN_STATUS_UNCERTIFIED;
        }
    }
    if (c->in.cert != NULL) {
        memcpy(c->in.cert, c->cert, (size_t)o->n_heads * sizeof *c->cert);
    }
    return status;
}

enum vattn_status vattn_attend(const struct vattn_plan * plan, const struct vattn_input * input, void * work,
                               size_t work_bytes) {
    struct vattn_call * call;
    enum vattn_status status = vattn_call_begin(plan, input, work, work_bytes, &call);
    if (status != VATTN_STATUS_OK) {
        return status;
    }
    vattn_call_work(call);
    return vattn_call_end(call);
}
