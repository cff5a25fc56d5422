#include "cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "capture.h"
#include "claim.h"
#include "host.h"
#include "options.h"
#include "queries.h"
#include "roots.h"
#include "stats.h"

/* --------------------------------------------------------------------------------------------------------- plans */

static enum vattn_type vattn_type_of(int32_t type) {
    return type == ABI_TYPE_F32 ? VATTN_TYPE_F32 : VATTN_TYPE_F16;
}

struct vattn_options plug_plan_options(const struct ggml_tensor * attention, int64_t max_keys) {
    const struct ggml_tensor * k = attention->src[1];
    const struct ggml_tensor * v = attention->src[2];
    return (struct vattn_options){.struct_size = sizeof(struct vattn_options),
                                  .n_heads = (int32_t)attention->src[0]->ne[2],
                                  .n_kv_heads = (int32_t)k->ne[2],
                                  .head_dim = (int32_t)k->ne[0],
                                  .v_dim = (int32_t)v->ne[0],
                                  .k_type = vattn_type_of(k->type),
                                  .v_type = vattn_type_of(v->type),
                                  .scale = plug_attention_param(attention, 0),
                                  .max_keys = max_keys,
                                  .n_layers = plug_roots_layers(),
                                  .method = (enum vattn_method)atomic_load(&plug_method),
                                  .scope = plug_options.scope,
                                  .eps = plug_options.eps,
                                  .delta = plug_options.delta,
                                  .seed = plug_options.seed,
                                  .disabled_tiers = plug_options.disabled_tiers};
}

const struct vattn_plan * plug_layer_plan(struct plug_layer * layer, enum vattn_method method) {
    struct vattn_plan ** plan = &layer->plans[method];
    if (*plan == NULL) {
        struct vattn_options options = layer->options;
        options.method = method;
        options.n_layers = plug_roots_layers();
        options.window = method == VATTN_METHOD_SPARSE ? -1 : 0; /* sparse: the recent rows are those left uncovered */
        if (vattn_plan_create(&options, plan, NULL) != VATTN_STATUS_OK) {
            *plan = NULL;
        }
    }
    return *plan;
}

/* -------------------------------------------------------------------------------------------------------- layers */

/* Decode walks the cache in long strides: large pages save most of the misses in the address tables. */
static void ask_for_huge_pages(const struct ggml_tensor * root) {
    const uintptr_t page = (uintptr_t)2 << 20;
    const uintptr_t begin = ((uintptr_t)root->data + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)root->data + (size_t)root->ne[2] * root->nb[2]) & ~(page - 1);
    if (end > begin) {
        madvise((void *)begin, end - begin, MADV_HUGEPAGE); /* only a hint: the result does not matter */
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

static void stream_free(struct plug_stream * stream) {
    vattn_index_free(stream->index);
    free(stream->state_memory);
    free(stream->covered);
    free(stream->fingerprints);
    plug_stats_index_bytes(-stream->counted_bytes);
    memset(stream, 0, sizeof(*stream));
}

void plug_layers_free(struct plug_layer * layers) {
    while (layers != NULL) {
        struct plug_layer * next = layers->next;
        for (int64_t s = 0; s < layers->n_streams; s++) {
            stream_free(&layers->streams[s]);
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

/* -------------------------------------------------------------------------------------------------------- writes */

static bool bit(const uint64_t * bits, int64_t row) {
    return (bits[row >> 6] >> (row & 63) & 1) != 0;
}

static void forget_all(const struct plug_layer * layer, struct plug_stream * stream) {
    if (stream->index != NULL) {
        vattn_index_forget(stream->index, 0, layer->capacity);
        memset(stream->covered, 0, (size_t)(layer->capacity + 63) / 64 * sizeof(uint64_t));
    }
}

void plug_layer_check_foreign(struct plug_layer * layer, const struct ggml_tensor * attention, const void * owner) {
    const uint64_t k_generation = plug_roots_generation(attention->src[1]->view_src, owner);
    const uint64_t v_generation = plug_roots_generation(attention->src[2]->view_src, owner);
    if (k_generation != layer->k_generation || v_generation != layer->v_generation) {
        for (int64_t s = 0; s < layer->n_streams; s++) {
            forget_all(layer, &layer->streams[s]);
        }
    }
    layer->k_generation = k_generation;
    layer->v_generation = v_generation;
}

/* Written rows join the recent window at its end, also when they are in it already. */
static void remember_recent(struct plug_stream * stream, int64_t row) {
    for (int32_t i = 0; i < stream->n_recent; i++) {
        if (stream->recent[i] == row) {
            return; /* it stays where it is: at most PLUG_RECENT writes too early */
        }
    }
    stream->recent[stream->next_recent] = row;
    stream->next_recent = (stream->next_recent + 1) % PLUG_RECENT;
    stream->n_recent += stream->n_recent < PLUG_RECENT;
}

void plug_layer_row_written(struct plug_layer * layer, int64_t row, bool is_key) {
    if (row < 0 || row >= layer->capacity * layer->n_streams) {
        return;
    }
    struct plug_stream * stream = &layer->streams[row / layer->capacity];
    const int64_t cell = row % layer->capacity;
    if (is_key) {
        remember_recent(stream, cell);
    }
    if (stream->covered != NULL && bit(stream->covered, cell)) {
        stream->covered[cell >> 6] &= ~((uint64_t)1 << (cell & 63));
        vattn_index_forget(stream->index, cell, cell + 1);
    }
}

/* -------------------------------------------------------------------------------------------------- fingerprints */

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t hash_bytes(uint64_t hash, const char * bytes, size_t n) {
    for (; n > 0; bytes += 8, n -= n < 8 ? n : 8) {
        uint64_t word = 0;
        memcpy(&word, bytes, n < 8 ? n : 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* The key row of one KV head, whole (a shift of positions changes some of its pairs only), and the value row's start. */
static uint16_t fingerprint(const struct plug_layer * layer, const struct vattn_kv * kv, int64_t row) {
    const struct vattn_options * options = &layer->options;
    const size_t g = (size_t)(row % options->n_kv_heads);
    const size_t k_bytes = (size_t)options->head_dim * (options->k_type == VATTN_TYPE_F32 ? 4 : 2);
    const size_t v_bytes = (size_t)options->v_dim * (options->v_type == VATTN_TYPE_F32 ? 4 : 2);
    const char * k = (const char *)kv->k + (size_t)row * kv->k_row_stride + g * kv->k_head_stride;
    const char * v = (const char *)kv->v + (size_t)row * kv->v_row_stride + g * kv->v_head_stride;
    uint64_t hash = hash_bytes((uint64_t)row, k, k_bytes);
    hash = hash_bytes(hash, v, v_bytes < 64 ? v_bytes : 64);
    return (uint16_t)(mix(hash) & 0xffff);
}

/* Some random covered rows are what they were.  Writes that bypass us change most rows, so that few looks suffice. */
static bool fingerprints_hold(const struct plug_layer * layer, struct plug_stream * stream, const struct vattn_kv * kv) {
    enum { TRIES = 16, CHECKS = 8 };
    int32_t n_checked = 0;
    for (int32_t i = 0; i < TRIES && n_checked < CHECKS; i++) {
        const int64_t row = (int64_t)(mix(++stream->n_checks * 0x9e3779b97f4a7c15u) % (uint64_t)kv->n_keys);
        if (!bit(stream->covered, row) || (kv->visible != NULL && !bit(kv->visible, row))) {
            continue;
        }
        n_checked++;
        if (fingerprint(layer, kv, row) != stream->fingerprints[row]) {
            return false;
        }
    }
    return true;
}

/* -------------------------------------------------------------------------------------------------------- encode */

struct encode_job {
    const struct plug_layer * layer;
    struct plug_stream * stream;
    const struct vattn_kv * kv;
    uint64_t * wanted; /* rows to encode, one bit each */
    int64_t n_words;
};

enum { WORDS_PER_TASK = 4 };

/* Rows that the index refuses (NaN) stay uncovered in it and are read exactly; asking again would not help. */
static void encode_run(const struct encode_job * job, int64_t begin, int64_t end) {
    (void)vattn_index_encode(job->stream->index, job->kv, begin, end);
    for (int64_t row = begin; row < end; row++) {
        job->stream->fingerprints[row] = fingerprint(job->layer, job->kv, row);
    }
}

/* The runs of set bits in one word of 64 rows. */
static void encode_word(const struct encode_job * job, int64_t w) {
    uint64_t left = job->wanted[w];
    job->stream->covered[w] |= left;
    while (left != 0) {
        const int32_t first = __builtin_ctzll(left);
        const uint64_t shifted = ~(left >> first);
        const int32_t n = shifted != 0 ? __builtin_ctzll(shifted) : 64;
        const int32_t end = first + n < 64 ? first + n : 64;
        encode_run(job, w * 64 + first, w * 64 + end);
        left = end < 64 ? left & (~(uint64_t)0 << end) : 0;
    }
}

/* A task is some whole words, so that threads encode disjoint blocks of 64 rows. */
static void encode_all(struct plug_team * team, void * data) {
    const struct encode_job * job = data;
    if (plug_team_leads(team)) {
        team->n_tasks = (int32_t)((job->n_words + WORDS_PER_TASK - 1) / WORDS_PER_TASK);
    }
    plug_team_barrier(team);
    for (int32_t t = plug_team_take(team); t >= 0; t = plug_team_take(team)) {
        for (int64_t w = (int64_t)t * WORDS_PER_TASK; w < (int64_t)(t + 1) * WORDS_PER_TASK && w < job->n_words; w++) {
            encode_word(job, w);
        }
    }
}

static int64_t find_unencoded(const struct plug_stream * stream, const struct vattn_kv * kv, uint64_t * wanted) {
    const int64_t n_words = (kv->n_keys + 63) / 64;
    for (int64_t w = 0; w < n_words; w++) {
        const int64_t n_bits = kv->n_keys - w * 64;
        const uint64_t all = n_bits >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n_bits) - 1;
        wanted[w] = (kv->visible != NULL ? kv->visible[w] : all) & ~stream->covered[w];
    }
    for (int32_t i = 0; i < stream->n_recent; i++) {
        if (stream->recent[i] < kv->n_keys) {
            wanted[stream->recent[i] >> 6] &= ~((uint64_t)1 << (stream->recent[i] & 63));
        }
    }
    int64_t n_wanted = 0;
    for (int64_t w = 0; w < n_words; w++) {
        n_wanted += __builtin_popcountll(wanted[w]);
    }
    return n_wanted;
}

static void encode_pending(const struct plug_layer * layer, struct plug_stream * stream, const struct vattn_kv * kv,
                           int32_t n_threads) {
    const int64_t n_words = (kv->n_keys + 63) / 64;
    uint64_t * wanted = stream->covered + (layer->capacity + 63) / 64; /* second half of the same block */
    if (find_unencoded(stream, kv, wanted) > PLUG_ENCODE_BATCH) {
        struct encode_job job = {layer, stream, kv, wanted, n_words};
        plug_team_run(n_threads, encode_all, &job);
    }
}

/* ------------------------------------------------------------------------------------------------------ calibrate */

static bool stream_create(struct plug_layer * layer, struct plug_stream * stream) {
    const struct vattn_plan * plan = plug_layer_plan(layer, VATTN_METHOD_SPARSE);
    if (plan == NULL || vattn_index_create(plan, layer->capacity, &stream->index) != VATTN_STATUS_OK) {
        stream->index = NULL;
        return false;
    }
    const size_t n_words = (size_t)(layer->capacity + 63) / 64;
    stream->covered = calloc(2 * n_words, sizeof(uint64_t));
    stream->fingerprints = malloc((size_t)layer->capacity * sizeof(uint16_t));
    stream->state_memory = malloc(vattn_state_bytes(plan));
    if (stream->covered == NULL || stream->fingerprints == NULL || stream->state_memory == NULL) {
        stream_free(stream);
        return false;
    }
    stream->state = vattn_state_init(plan, stream->state_memory);
    stream->calibrate_at = PLUG_CALIBRATE_ROWS;
    stream->counted_bytes = (int64_t)(vattn_index_bytes(plan, layer->capacity) + vattn_state_bytes(plan) +
                                      2 * n_words * sizeof(uint64_t) + (size_t)layer->capacity * sizeof(uint16_t));
    plug_stats_index_bytes(stream->counted_bytes);
    return true;
}

/* Keys drift as a text grows: a code fitted to the first thousand rows is fitted again at four times as many. */
static void calibrate(struct plug_layer * layer, struct plug_stream * stream, const struct vattn_kv * kv,
                      int64_t n_visible) {
    const int64_t begin = plug_now_ns();
    float * moment = plug_queries_moment(layer);
    vattn_index_calibrate(stream->index, kv, moment); /* if it fails, the index says so and calls stay exact */
    free(moment);
    memset(stream->covered, 0, (size_t)(layer->capacity + 63) / 64 * sizeof(uint64_t));
    stream->calibrate_at = 4 * n_visible;
    plug_stats_calibration_ns(plug_now_ns() - begin);
}

const struct vattn_index * plug_stream_update(struct plug_layer * layer, int64_t stream_number,
                                              const struct vattn_kv * kv, int64_t n_visible, int32_t n_threads) {
    struct plug_stream * stream = &layer->streams[stream_number];
    if (n_visible < PLUG_CALIBRATE_ROWS || (stream->index == NULL && !stream_create(layer, stream))) {
        return NULL;
    }
    if (vattn_index_calibrated(stream->index) && !fingerprints_hold(layer, stream, kv)) {
        forget_all(layer, stream);
        plug_stats_stale();
    }
    if (n_visible >= stream->calibrate_at) {
        calibrate(layer, stream, kv, n_visible);
    }
    if (!vattn_index_calibrated(stream->index)) {
        plug_stats_uncalibrated();
        return NULL;
    }
    encode_pending(layer, stream, kv, n_threads);
    return stream->index;
}
