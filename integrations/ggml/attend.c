#include "attend.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "capture.h"
#include "claim.h"
#include "host.h"
#include "options.h"
#include "queries.h"
#include "stats.h"

/* One query row of a node. */
struct row {
    struct plug_layer * layer; /* NULL for the host's own tests */
    const struct vattn_plan * plan;
    struct vattn_kv kv;
    struct vattn_input input;
    const struct plug_visible * visible;
    int64_t stream; /* of the cache */
};

/* No two calls of the process may share their random numbers. */
static uint64_t next_nonce(void) {
    static _Atomic(uint64_t) nonce;
    return atomic_fetch_add_explicit(&nonce, 1, memory_order_relaxed);
}

/* ------------------------------------------------------------------------------------------------------ one call */

static void work(struct plug_team * team, void * data) {
    (void)team;
    vattn_call_work(data);
}

/* Waking the pool costs some microseconds: below about twice that, one thread is faster. */
static int32_t threads_for(const struct plug_context * context, const struct row * row) {
    const struct vattn_options * options = vattn_plan_options(row->plan);
    const int64_t n_products = row->visible->n_visible * options->n_heads * (options->head_dim + options->v_dim);
    return n_products < (1 << 17) ? 1 : context->n_threads;
}

static enum vattn_status run_call(struct plug_context * context, const struct row * row) {
    struct vattn_call * call;
    enum vattn_status status = vattn_call_begin(row->plan, &row->input, context->work, context->work_bytes, &call);
    if (status >= 0) {
        plug_team_run(threads_for(context, row), work, call);
        status = vattn_call_end(call);
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------------- one row */

static bool reserve(struct plug_context * context, const struct vattn_plan * plan, size_t out_floats) {
    const size_t large = (size_t)2 << 20; /* scores of a long context take megabytes: see layer.c for the pages */
    const size_t unit = vattn_call_bytes(plan) >= large / 2 ? large : 64;
    const size_t bytes = (vattn_call_bytes(plan) + unit - 1) / unit * unit;
    const int32_t n_heads = vattn_plan_options(plan)->n_heads;
    if (bytes > context->work_bytes) {
        free(context->work);
        context->work = aligned_alloc(unit, bytes);
        context->work_bytes = context->work != NULL ? bytes : 0;
        if (context->work != NULL && unit == large) {
            madvise(context->work, bytes, MADV_HUGEPAGE);
        }
    }
    if (out_floats > context->out_floats) {
        free(context->out);
        context->out = malloc(out_floats * sizeof(float));
        context->out_floats = context->out != NULL ? out_floats : 0;
    }
    if (n_heads > context->n_certs) {
        free(context->certs);
        context->certs = malloc((size_t)n_heads * sizeof(*context->certs));
        context->n_certs = context->certs != NULL ? n_heads : 0;
    }
    return context->work != NULL && context->out != NULL && context->certs != NULL;
}

/* Sequences of the batch that share a stream of the cache follow one another. */
static int64_t kv_stream(const struct ggml_tensor * node, int64_t s) {
    return s / (node->src[0]->ne[3] / node->src[1]->ne[3]);
}

static void describe(struct row * row, struct plug_context * context, const struct ggml_tensor * node, int64_t n,
                     int64_t s) {
    const struct ggml_tensor * q = node->src[0];
    const struct ggml_tensor * k = node->src[1];
    const struct ggml_tensor * v = node->src[2];
    const size_t ks = (size_t)kv_stream(node, s);
    row->kv = (struct vattn_kv){(const char *)k->data + ks * k->nb[3],
                                (const char *)v->data + ks * v->nb[3],
                                k->nb[1],
                                k->nb[2],
                                v->nb[1],
                                v->nb[2],
                                row->visible->n_keys,
                                row->visible->bits};
    row->stream = (row->layer != NULL ? (int64_t)(k->view_offs / k->view_src->nb[2]) : 0) + (int64_t)ks;
    const size_t row_floats = (size_t)q->ne[2] * (size_t)v->ne[0];
    const char * query = (const char *)q->data + (size_t)n * q->nb[1] + (size_t)s * q->nb[3];
    row->input = (struct vattn_input){.kv = &row->kv,
                                      .q = (const float *)(const void *)query,
                                      .q_head_stride = q->nb[2],
                                      .out = context->out + (size_t)(s * q->ne[1] + n) * row_floats,
                                      .cert = context->certs,
                                      .nonce = next_nonce(),
                                      .layer = row->layer != NULL ? row->layer->number : 0};
}

static void bring_index(struct row * row, struct plug_context * context) {
    row->input.index = plug_stream_update(row->layer, row->stream, &row->kv, row->visible->n_visible,
                                          context->n_threads, &context->n_alarms);
    if (row->input.index != NULL) {
        row->input.state = row->layer->streams[row->stream].state;
    } else {
        plug_stats_without_index();
    }
}

/* A sparse call that cannot be done (a key is not finite, say) is tried again as plain attention. */
static bool answer(struct plug_context * context, struct row * row) {
    enum vattn_status status = run_call(context, row);
    if (status < 0 && row->input.index != NULL) {
        row->plan = plug_layer_plan(row->layer, VATTN_METHOD_EXACT);
        row->input.index = NULL;
        row->input.state = NULL;
        status = row->plan != NULL && reserve(context, row->plan, 0) ? run_call(context, row) : VATTN_STATUS_NO_MEMORY;
    }
    if (status >= 0) {
        plug_stats_call(vattn_plan_options(row->plan), context->certs);
    }
    return status >= 0;
}

static bool attend_row(struct plug_context * context, const struct ggml_tensor * node, struct row * row, int64_t n,
                       int64_t s) {
    describe(row, context, node, n, s);
    if (row->visible->n_visible == 0) {
        memset(row->input.out, 0, (size_t)node->src[0]->ne[2] * (size_t)node->src[2]->ne[0] * sizeof(float));
        return true;
    }
    if (row->layer != NULL && plug_uses_index(vattn_plan_options(row->plan)->method)) {
        bring_index(row, context);
    }
    if (row->layer != NULL && plug_options.capture != NULL && node->src[0]->ne[1] * node->src[0]->ne[3] == 1) {
        plug_capture_step(row->layer, node->src[0], &row->kv, row->visible->n_visible);
    }
    return answer(context, row);
}

/* ----------------------------------------------------------------------------------------------------- whole nodes */

static void begin_epoch(struct plug_context * context, struct plug_layer * layer) {
    const uint64_t builds = plug_claim_builds();
    const bool seen_already = layer == NULL || layer->epoch == context->epoch;
    if (builds != context->builds || seen_already) {
        context->epoch++;
        context->builds = builds;
    }
    if (layer != NULL) {
        layer->epoch = context->epoch;
    }
}

bool plug_attend_prepare(struct plug_context * context, const struct ggml_tensor * node) {
    struct plug_layer * layer = plug_layer_of(&context->layers, node);
    if (layer == NULL && !plug_options.claim_all) {
        return false;
    }
    begin_epoch(context, layer);
    if (layer != NULL) {
        plug_layer_check_foreign(layer, node, context);
    }
    return true;
}

bool plug_attend_read_mask(struct plug_context * context, const struct ggml_tensor * node) {
    return plug_mask_read(&context->masks, node, context->epoch) != NULL;
}

static void write_out(const struct plug_context * context, const struct ggml_tensor * node) {
    const size_t row_floats = (size_t)node->ne[0] * (size_t)node->ne[1];
    for (int64_t s = 0; s < node->ne[3]; s++) {
        for (int64_t n = 0; n < node->ne[2]; n++) {
            memcpy((char *)node->data + (size_t)n * node->nb[2] + (size_t)s * node->nb[3],
                   context->out + (size_t)(s * node->ne[2] + n) * row_floats, row_floats * sizeof(float));
        }
    }
}

static bool attend_rows(struct plug_context * context, const struct ggml_tensor * node, struct plug_layer * layer,
                        const struct vattn_plan * plan) {
    const struct plug_mask * mask = plug_mask_read(&context->masks, node, context->epoch);
    const size_t out_floats = (size_t)(node->ne[0] * node->ne[1] * node->ne[2] * node->ne[3]);
    if (mask == NULL || !reserve(context, plan, out_floats)) {
        return false;
    }
    for (int64_t s = 0; s < node->ne[3]; s++) {
        for (int64_t n = 0; n < node->ne[2]; n++) {
            struct row row = {.layer = layer, .plan = plan, .visible = &mask->visible[s * mask->n_rows + n]};
            if (!attend_row(context, node, &row, n, s)) {
                return false;
            }
        }
    }
    write_out(context, node);
    return true;
}

static bool attend_without_cache(struct plug_context * context, const struct ggml_tensor * node) {
    struct vattn_plan * plan = NULL;
    const struct vattn_options options = plug_plan_options(node, node->src[1]->ne[1]);
    const bool done =
        vattn_plan_create(&options, &plan, NULL) == VATTN_STATUS_OK && attend_rows(context, node, NULL, plan);
    vattn_plan_free(plan);
    return done;
}

/* The layer that this context met first counts its tokens. */
static bool is_first_layer(struct plug_context * context, const struct plug_layer * layer) {
    if (context->first_layer == NULL) {
        context->first_layer = layer;
    }
    return context->first_layer == layer;
}

bool plug_attend(struct plug_context * context, const struct ggml_tensor * node) {
    const int64_t begin = plug_now_ns();
    struct plug_layer * layer = plug_layer_of(&context->layers, node);
    if (layer == NULL) {
        return attend_without_cache(context, node);
    }
    const struct vattn_plan * plan = plug_layer_plan(layer, (enum vattn_method)atomic_load(&plug_method));
    if (plan == NULL || !attend_rows(context, node, layer, plan)) {
        return false;
    }
    plug_queries_note(layer, node->src[0], context->n_threads);
    if (is_first_layer(context, layer)) {
        plug_stats_tokens(node->ne[2] * node->ne[3]);
    }
    plug_stats_attention_ns(plug_now_ns() - begin);
    return true;
}

void plug_attend_learn(struct plug_context * context, const struct ggml_tensor * node) {
    struct plug_layer * layer = plug_layer_of(&context->layers, node);
    const bool is_prompt = node->src[0]->ne[1] > PLUG_DECODE_MAX && !plug_options.claim_all;
    if (!is_prompt) {
        plug_stats_handed_over();
    }
    if (layer == NULL) {
        return;
    }
    plug_queries_note(layer, node->src[0], context->n_threads);
    if (is_prompt && is_first_layer(context, layer)) {
        plug_stats_prompt_tokens(node->ne[2] * node->ne[3]);
    }
}

void plug_context_free(struct plug_context * context) {
    plug_layers_free(context->layers);
    plug_masks_free(&context->masks);
    free(context->work);
    free(context->out);
    free(context->certs);
}
