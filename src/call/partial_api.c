/* SPDX-License-Identifier: MIT
 *
 * The public face of partial results: what a shard or a machine hands to another.
 */
#include <math.h>

#include "combine/partial.h"
#include "exact/dense.h"

size_t vattn_partial_bytes(const struct vattn_plan * plan) {
    return vattn_partial_floats(plan->opt.n_heads, plan->opt.v_dim) * sizeof(float);
}

static struct vattn_partial view(const struct vattn_plan * plan, float * p, int32_t head) {
    return vattn_partial_view(p, plan->opt.n_heads, plan->opt.v_dim, head);
}

enum vattn_status vattn_partial_attend(const struct vattn_plan * plan, const struct vattn_kv * kv, const float * q,
                                       int64_t begin, int64_t end, void * work, size_t work_bytes, float * partial) {
    size_t n = (size_t)plan->opt.n_heads * (size_t)plan->opt.head_dim;
    if (kv == NULL || q == NULL || partial == NULL || begin < 0 || begin % 64 != 0 || end > kv->n_keys) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    if (work == NULL || work_bytes < n * sizeof(float)) {
        return VATTN_STATUS_NO_MEMORY;
    }
    float * scaled = work;
    for (size_t i = 0; i < n; i++) {
        scaled[i] = q[i] * plan->q_scale;
        if (!isfinite(scaled[i])) {
            return VATTN_STATUS_NOT_FINITE;
        }
    }
    vattn_partial_clear(view(plan, partial, 0), plan->opt.n_heads);
    vattn_dense_rows(plan, kv, scaled, 0, plan->opt.n_kv_heads, begin, end, end, view(plan, partial, 0));
    return VATTN_STATUS_OK;
}

/* Reading through a const pointer: the view type has no const twin, and add() leaves `from` alone. */
static float * unconst(const float * p) {
    union {
        const float * in;
        float * out;
    } u = {p};
    return u.out;
}

void vattn_partial_merge(const struct vattn_plan * plan, float * into, const float * from) {
    struct vattn_partial a = view(plan, into, 0), b = view(plan, unconst(from), 0);
    for (int32_t h = 0; h < plan->opt.n_heads; h++) {
        vattn_partial_add(a, b, h);
    }
}

void vattn_partial_finish(const struct vattn_plan * plan, const float * partial, float * out, size_t out_head_stride) {
    struct vattn_partial p = view(plan, unconst(partial), 0);
    size_t stride = out_head_stride != 0 ? out_head_stride : (size_t)plan->opt.v_dim * sizeof(float);
    for (int32_t h = 0; h < plan->opt.n_heads; h++) {
        vattn_partial_output(p, h, (float *)(void *)((char *)out + (size_t)h * stride));
    }
}
