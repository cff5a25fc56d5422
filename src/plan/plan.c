/* SPDX-License-Identifier: MIT */
#include "plan/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_KEYS INT64_C(0x7fffffff)

static void fill_defaults(struct vattn_options * o) {
    o->v_dim = o->v_dim == 0 ? o->head_dim : o->v_dim;
    o->scale = o->scale == 0.0F && o->head_dim > 0 ? (float)(1.0 / sqrt((double)o->head_dim)) : o->scale;
    o->n_layers = o->n_layers == 0 ? 1 : o->n_layers;
    o->eps = o->eps == 0.0 ? 0.05 : o->eps;
    o->delta = o->delta == 0.0 ? 0.05 : o->delta;
    o->sink = o->sink == 0 ? 4 : o->sink < 0 ? 0 : o->sink;
    o->window = o->window == 0 ? 32 : o->window < 0 ? 0 : o->window;
    o->min_keys = o->min_keys == 0 ? 1024 : o->min_keys < 0 ? 0 : o->min_keys;
    o->max_rows = o->max_rows == 0.0 ? 0.5 : o->max_rows;
    o->max_looks = o->max_looks == 0 ? 7 : o->max_looks;
    o->code_bits = o->code_bits != 0.0 ? o->code_bits : o->method == VATTN_METHOD_SPARSE_STRICT ? 4.0 : 2.0;
    o->escape = o->escape == 0.0 ? 0.01 : o->escape;
    o->paper_topk = o->paper_topk == 0.0 ? 0.05 : o->paper_topk;
    o->paper_base = o->paper_base == 0.0 ? 0.01 : o->paper_base;
}

static const char * unsupported(const struct vattn_options * o) {
    if (o->logit_softcap != 0.0F) {
        return "logit_softcap: not implemented, must be 0";
    }
    if (o->max_alibi_bias != 0.0F) {
        return "max_alibi_bias: not implemented, must be 0";
    }
    if (o->has_sink_logits) {
        return "has_sink_logits: not implemented, must be false";
    }
    return NULL;
}

static bool inside(double x, double low, double high) {
    return x >= low && x <= high; /* false for NaN */
}

static const char * invalid_shape(const struct vattn_options * o) {
    if (o->n_heads < 1 || o->n_kv_heads < 1 || o->n_heads % o->n_kv_heads != 0 || o->n_kv_heads > 16383) {
        return "n_heads, n_kv_heads: must be positive, and n_kv_heads must divide n_heads";
    }
    if (o->head_dim < 1 || o->head_dim > VATTN_MAX_DIM || o->v_dim < 1 || o->v_dim > VATTN_MAX_DIM) {
        return "head_dim, v_dim: must be 1..576";
    }
    if ((unsigned)o->k_type >= VATTN_TYPE_COUNT || (unsigned)o->v_type >= VATTN_TYPE_COUNT) {
        return "k_type, v_type: must be F32, F16, BF16 or Q8_0";
    }
    if (vattn_row_bytes(o->k_type, o->head_dim) == 0 || vattn_row_bytes(o->v_type, o->v_dim) == 0) {
        return "k_type, v_type: rows of Q8_0 have a multiple of 32 elements (head_dim, v_dim)";
    }
    if (o->max_keys < 1 || o->max_keys > MAX_KEYS) {
        return "max_keys: must be 1..2147483647";
    }
    if (!isfinite(o->scale)) {
        return "scale: must be finite";
    }
    return NULL;
}

static const char * invalid(const struct vattn_options * o) {
    const char * reason = invalid_shape(o);
    if (reason != NULL) {
        return reason;
    }
    if ((unsigned)o->method >= VATTN_METHOD_COUNT || (unsigned)o->scope > VATTN_SCOPE_TOKEN || o->n_layers < 1) {
        return "method, scope, n_layers: out of range";
    }
    if (!inside(o->eps, 1e-6, 0.999) || !inside(o->delta, 1e-9, 0.5)) {
        return "eps, delta: eps must be in [1e-6, 0.999], delta in [1e-9, 0.5]";
    }
    if (!inside(o->max_rows, 1e-9, 1.0) || o->max_looks < 1 || o->max_looks > 20) {
        return "max_rows, max_looks: max_rows must be in (0, 1], max_looks in 1..20";
    }
    if (!inside(o->code_bits, 0.25, 8.0) || !inside(o->escape, 1e-9, 0.5)) {
        return "code_bits, escape: code_bits must be in [0.25, 8], escape in (0, 0.5]";
    }
    if (!inside(o->paper_topk, 0.0, (double)MAX_KEYS) || !inside(o->paper_base, 0.0, (double)MAX_KEYS)) {
        return "paper_topk, paper_base: a share up to 1 or a number of rows";
    }
    if (o->paper_by_scores && o->method != VATTN_METHOD_PAPER_D && o->method != VATTN_METHOD_PAPER_N &&
        o->method != VATTN_METHOD_PAPER_SDPA) {
        return "paper_by_scores: for paper-d, paper-n and paper-sdpa only";
    }
    return NULL;
}

static enum vattn_status fail(enum vattn_status status, const char * why, const char ** reason) {
    if (reason != NULL) {
        *reason = why;
    }
    return status;
}

enum vattn_status vattn_plan_create(const struct vattn_options * options, struct vattn_plan ** plan,
                                    const char ** reason) {
    if (plan == NULL) {
        return fail(VATTN_STATUS_INVALID_ARGUMENT, "plan: must not be NULL", reason);
    }
    *plan = NULL;
    if (options == NULL || options->struct_size != sizeof *options) {
        return fail(VATTN_STATUS_INVALID_ARGUMENT, "struct_size: must be sizeof(struct vattn_options)", reason);
    }
    struct vattn_options o = *options;
    fill_defaults(&o);
    const char * why = unsupported(&o);
    if (why != NULL) {
        return fail(VATTN_STATUS_UNSUPPORTED, why, reason);
    }
    why = invalid(&o);
    if (why != NULL) {
        return fail(VATTN_STATUS_INVALID_ARGUMENT, why, reason);
    }
    struct vattn_plan * p = calloc(1, sizeof *p);
    if (p == NULL) {
        return fail(VATTN_STATUS_NO_MEMORY, "out of memory", reason);
    }
    p->opt = o;
    p->kern = vattn_kernels_pick(o.disabled_tiers);
    p->group = o.n_heads / o.n_kv_heads;
    p->q_scale = (float)((double)o.scale * VATTN_LOG2E);
    p->delta_head = o.scope == VATTN_SCOPE_TOKEN ? o.delta / ((double)o.n_heads * o.n_layers) : o.delta;
    p->x = o.eps / (1.0 + o.eps);
    p->cost = vattn_cost_of(&o, p->kern);
    vattn_quantile_init(&p->quantile, p->delta_head);
    *plan = p;
    return VATTN_STATUS_OK;
}

void vattn_plan_free(struct vattn_plan * plan) {
    free(plan);
}

const struct vattn_options * vattn_plan_options(const struct vattn_plan * plan) {
    return &plan->opt;
}

const char * vattn_plan_tier(const struct vattn_plan * plan) {
    return plan->kern->name;
}
