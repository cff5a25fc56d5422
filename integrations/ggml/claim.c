#include "claim.h"

#include <stdatomic.h>
#include <string.h>

#include "host.h"
#include "options.h"
#include "roots.h"
#include "stats.h"
#include "types.h"

static _Atomic(uint64_t) n_builds;

uint64_t plug_claim_builds(void) {
    return atomic_load_explicit(&n_builds, memory_order_relaxed);
}

/* ------------------------------------------------------------------------------------------------------ attention */

static bool rows_are_contiguous(const struct ggml_tensor * tensor) {
    return plug_type_size(tensor->type) != 0 && tensor->nb[0] == plug_type_size(tensor->type);
}

static const char * refuse_parameters(const struct ggml_tensor * op) {
    if (op->src[4] != NULL) {
        return "sinks";
    }
    if (plug_attention_param(op, 1) != 0) {
        return "alibi";
    }
    if (plug_attention_param(op, 2) != 0) {
        return "softcap";
    }
    return plug_attention_param(op, 0) == 0 ? "scale" : NULL; /* 0 means a default to the library */
}

static const char * refuse_types(const struct ggml_tensor * q, const struct ggml_tensor * k,
                                 const struct ggml_tensor * v) {
    if (q->type != ABI_TYPE_F32 || q->nb[0] != 4) {
        return "query_type";
    }
    return rows_are_contiguous(k) && rows_are_contiguous(v) ? NULL : "kv_type";
}

static const char * refuse_shapes(const struct ggml_tensor * q, const struct ggml_tensor * k,
                                  const struct ggml_tensor * v) {
    enum { HEAD_DIM_MAX = 576 };
    if (k->ne[0] > HEAD_DIM_MAX || v->ne[0] > HEAD_DIM_MAX) {
        return "head_dim";
    }
    const bool fit = q->ne[0] == k->ne[0] && q->ne[2] % k->ne[2] == 0 && q->ne[3] % k->ne[3] == 0 &&
                     k->ne[1] == v->ne[1] && k->ne[2] == v->ne[2] && k->ne[3] == v->ne[3];
    return fit ? NULL : "shape";
}

static const char * refuse_mask(const struct ggml_tensor * q, const struct ggml_tensor * k,
                                const struct ggml_tensor * mask) {
    if (mask == NULL) {
        return NULL;
    }
    const bool fits = mask->type == ABI_TYPE_F16 && mask->nb[0] == 2 && mask->ne[0] == k->ne[1] &&
                      mask->ne[1] >= q->ne[1] && mask->ne[2] == 1 && q->ne[3] % mask->ne[3] == 0;
    return fits ? NULL : "mask";
}

static bool is_cache(const struct ggml_tensor * root) {
    return root != NULL && root->buffer != NULL && root->data != NULL &&
           (strncmp(root->name, "cache_k", 7) == 0 || strncmp(root->name, "cache_v", 7) == 0) &&
           plug_host.buffer_is_host(root->buffer);
}

/* Whole token rows of one or several sequences' streams of the cache, from the first row on. */
static bool views_cache(const struct ggml_tensor * view) {
    const struct ggml_tensor * root = view->view_src;
    return is_cache(root) && view->nb[1] == root->nb[1] && view->ne[1] <= root->ne[1] &&
           view->view_offs % root->nb[2] == 0 && (view->ne[3] == 1 || view->nb[3] == root->nb[2]);
}

/*
 * With `-fa auto`, its default, the host first asks who would compute attention over the cache in full, and gives up on
 * fused attention if the answer is not the device of the layer.  So a cache is declined until it was seen in part, which
 * the host does as soon as it computes.
 */
static const char only_full_views[] = "cache_viewed_in_full";

static const char * refuse_cache(const struct ggml_tensor * k, const struct ggml_tensor * v) {
    if (plug_options.claim_all && (k->view_src == NULL || !is_cache(k->view_src))) {
        return NULL;
    }
    if (!views_cache(k) || !views_cache(v)) {
        return "not_a_cache";
    }
    plug_roots_attend(k->view_src, v->view_src);
    return plug_roots_only_full_views(k) && !plug_options.claim_all ? only_full_views : NULL;
}

static const char * refuse_attention(const struct ggml_tensor * op) {
    const struct ggml_tensor * q = op->src[0];
    const struct ggml_tensor * k = op->src[1];
    const struct ggml_tensor * v = op->src[2];
    const char * reason = refuse_parameters(op);
    reason = reason != NULL ? reason : refuse_types(q, k, v);
    reason = reason != NULL ? reason : refuse_shapes(q, k, v);
    reason = reason != NULL ? reason : refuse_mask(q, k, op->src[3]);
    return reason != NULL ? reason : refuse_cache(k, v);
}

/* A cache stands for its node, whose name may differ in the next graph; other nodes go by their names. */
static uint64_t node_identity(const struct ggml_tensor * op, const char * reason) {
    const struct ggml_tensor * root = plug_root_of(op->src[1]);
    uint64_t hash = 1469598103934665603u ^ (uint64_t)(uintptr_t)root->data;
    for (const char * c = is_cache(root) ? root->name : op->name; *c != '\0'; c++) {
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    }
    return (hash ^ (uint64_t)(uintptr_t)reason) * 1099511628211u;
}

/* The host measures with graphs that have no memory before it makes those that run. */
static bool is_dry_run(const struct ggml_tensor * op) {
    const struct ggml_tensor * root = op->src[1]->view_src;
    return root != NULL && strncmp(root->name, "cache_", 6) == 0 && (root->buffer == NULL || root->data == NULL);
}

static bool claim_attention(const struct ggml_tensor * op) {
    const char * reason = refuse_attention(op);
    if (reason == NULL) {
        plug_stats_taken(only_full_views, node_identity(op, only_full_views));
    } else if (!is_dry_run(op)) {
        plug_stats_declined(reason, node_identity(op, reason));
    }
    return reason == NULL;
}

/* --------------------------------------------------------------------------------------------------- cache writes */

/* Whole rows into a cache whose attention is ours; with a GPU in the house this is what brings attention to us. */
static bool claim_set_rows(const struct ggml_tensor * op) {
    const struct ggml_tensor * from = op->src[0];
    const struct ggml_tensor * rows = op->src[1];
    const bool fits = from->type == ABI_TYPE_F32 && from->nb[0] == 4 && rows_are_contiguous(op) &&
                      (rows->type == ABI_TYPE_I64 || rows->type == ABI_TYPE_I32);
    if (!fits || plug_options.claim_all) {
        return fits;
    }
    const struct ggml_tensor * root = plug_root_of(op);
    return plug_roots_attended(root) && op->ne[0] == root->ne[0] && op->nb[1] == root->nb[1] && op->view_offs == 0 &&
           op->ne[2] == 1 && op->ne[3] == 1;
}

/* ------------------------------------------------------------------------------------------------------------ all */

bool plug_claim(const struct ggml_tensor * op) {
    if (plug_options.off) {
        return false;
    }
    atomic_fetch_add_explicit(&n_builds, 1, memory_order_relaxed);
    if (plug_host_is_view(op->op)) {
        return true;
    }
    if (op->op == plug_host.op_flash_attn) {
        return claim_attention(op);
    }
    if (op->op == plug_host.op_set_rows && claim_set_rows(op)) {
        return true;
    }
    if (op->view_src != NULL) {
        plug_roots_foreign_write(op->view_src);
    }
    return false;
}
