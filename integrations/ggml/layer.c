/* Layers: found by the memory of their caches, with a plan for each method. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cache.h"
#include "capture.h"
#include "claim.h"
#include "host.h"
#include "options.h"
#include "roots.h"
#include "types.h"

/* --------------------------------------------------------------------------------------------------------- plans */

struct vattn_options plug_plan_options(const struct ggml_tensor * attention, int64_t max_keys) {
    const struct ggml_tensor * k = attention->src[1];
    const struct ggml_tensor * v = attention->src[2];
    return (struct vattn_options){.struct_size = sizeof(struct vattn_options),
                                  .n_heads = (int32_t)attention->src[0]->ne[2],
                                  .n_kv_heads = (int32_t)k->ne[2],
                                  .head_dim = (int32_t)k->ne[0],
                                  .v_dim = (int32_t)v->ne[0],
                                  .k_type = plug_row_type(k->type),
                                  .v_type = plug_row_type(v->type),
                                  .scale = plug_attention_param(attention, 0),
                                  .max_keys = max_keys,
                                  .n_layers = plug_roots_layers(),
                                  .method = (enum vattn_method)atomic_load(&plug_method),
                                  .scope = plug_options.scope,
                                  .eps = plug_options.eps,
                                  .delta = plug_options.delta,
                                  .seed = plug_options.seed,
                                  .fastest = plug_options.fastest,
                                  .disabled_tiers = plug_options.disabled_tiers};
}

const struct vattn_plan * plug_layer_plan(struct plug_layer * layer, enum vattn_method method) {
    struct vattn_plan ** plan = &layer->plans[method];
    if (*plan == NULL) {
        struct vattn_options options = layer->options;
        options.method = method;
        options.n_layers = plug_roots_layers();
        options.window = plug_uses_index(method) ? -1 : 0; /* sparse: the recent rows are those left uncovered */
        if (vattn_plan_create(&options, plan, NULL) != VATTN_STATUS_OK) {
            *plan = NULL;
        }
    }
    return *plan;
}

/* -------------------------------------------------------------------------------------------------------- layers */

#if !defined(MADV_COLLAPSE)
#define MADV_COLLAPSE 25 /* Linux 6.1; older systems refuse the number */
#endif

static uintptr_t clamp(uintptr_t x, uintptr_t low, uintptr_t high) {
    return x < low ? low : x > high ? high : x;
}

/*
 * Decode walks the cache in long strides: large pages save most of the misses in the address tables and let the hardware
 * prefetch further.  The host has cleared its buffer, so the pages are there already and small: they are joined now
 * (COLLAPSE), a layer at a time, with the pages that layers share.  Only hints: the results do not matter.
 */
static void ask_for_huge_pages(const struct ggml_tensor * root) {
    if (root->buffer == NULL) {
        return;
    }
    const uintptr_t page = (uintptr_t)2 << 20;
    const uintptr_t base = (uintptr_t)plug_host.buffer_base(root->buffer);
    const uintptr_t low = (base + page - 1) & ~(page - 1);
    const uintptr_t high = (base + plug_host.buffer_size(root->buffer)) & ~(page - 1);
    const uintptr_t data = (uintptr_t)root->data, size = (size_t)root->ne[2] * root->nb[2];
    const uintptr_t begin = clamp(data & ~(page - 1), low, high);
    const uintptr_t end = clamp((data + size + page - 1) & ~(page - 1), low, high);
    if (low < high && begin < end) {
        madvise((void *)begin, end - begin, MADV_HUGEPAGE);
        madvise((void *)begin, end - begin, MADV_COLLAPSE);
    }
}

static int32_t layer_number(const char * name, int32_t fallback) {
    int number = 0;
    return sscanf(name, "cache_k_l%d", &number) == 1 && number >= 0 && number < 16384 ? number : fallback;
}

static struct plug_layer * layer_create(const struct ggml_tensor * attention, int32_t n_before) {
    const struct ggml_tensor * v = attention->src[2];
    const struct ggml_tensor * root = attention->src[1]->view_src;
    struct plug_layer * layer = calloc(1, sizeof(*layer));
    struct plug_stream * streams = calloc((size_t)root->ne[2], sizeof(*streams));
    if (layer == NULL || streams == NULL) {
        free(layer);
        free(streams);
        return NULL;
    }
    layer->k_data = root->data;
    layer->v_data = v->view_src->data;
    layer->number = layer_number(root->name, n_before);
    layer->capacity = root->ne[1];
    layer->n_streams = root->ne[2];
    layer->options = plug_plan_options(attention, root->ne[1]);
    layer->epoch = UINT64_MAX;
    layer->streams = streams;
    ask_for_huge_pages(root);
    ask_for_huge_pages(v->view_src);
    return layer;
}

static bool same_geometry(const struct vattn_options * a, const struct vattn_options * b) {
    return a->n_heads == b->n_heads && a->n_kv_heads == b->n_kv_heads && a->head_dim == b->head_dim &&
           a->v_dim == b->v_dim && a->k_type == b->k_type && a->v_type == b->v_type && a->scale == b->scale;
}

static bool layer_matches(const struct plug_layer * layer, const struct ggml_tensor * attention) {
    const struct ggml_tensor * root = attention->src[1]->view_src;
    if (layer->k_data != root->data || layer->v_data != attention->src[2]->view_src->data ||
        layer->capacity != root->ne[1] || layer->n_streams != root->ne[2]) {
        return false;
    }
    const struct vattn_options options = plug_plan_options(attention, root->ne[1]);
    return same_geometry(&layer->options, &options);
}

struct plug_layer * plug_layer_of(struct plug_layer ** layers, const struct ggml_tensor * attention) {
    const struct ggml_tensor * k = attention->src[1];
    if (k->view_src == NULL || attention->src[2]->view_src == NULL || strncmp(k->view_src->name, "cache_k", 7) != 0) {
        return NULL;
    }
    int32_t n_before = 0;
    for (struct plug_layer * layer = *layers; layer != NULL; layer = layer->next) {
        if (layer_matches(layer, attention)) {
            return layer;
        }
        n_before++;
    }
    struct plug_layer * layer = layer_create(attention, n_before);
    if (layer != NULL) {
        layer->next = *layers;
        *layers = layer;
    }
    return layer;
}

void plug_layers_free(struct plug_layer * layers) {
    while (layers != NULL) {
        struct plug_layer * next = layers->next;
        for (int64_t s = 0; s < layers->n_streams; s++) {
            plug_stream_free(&layers->streams[s]);
        }
        for (size_t i = 0; i < sizeof(layers->plans) / sizeof(layers->plans[0]); i++) {
            vattn_plan_free(layers->plans[i]);
        }
        plug_capture_free(layers->capture);
        free(layers->query_sum);
        free(layers->streams);
        free(layers);
        layers = next;
    }
}
