#include "cache.h"

#include <stdlib.h>
#include <string.h>

#include "fingerprint.h"
#include "host.h"
#include "options.h"
#include "queries.h"
#include "roots.h"
#include "stats.h"

/* -------------------------------------------------------------------------------------------------------- writes */

static void forget_all(const struct plug_layer * layer) {
    for (int64_t s = 0; s < layer->n_streams; s++) {
        const struct plug_stream * stream = &layer->streams[s];
        if (stream->index != NULL) {
            vattn_index_forget(stream->index, 0, layer->capacity);
            memset(stream->covered, 0, (size_t)(layer->capacity + 63) / 64 * sizeof(uint64_t));
        }
    }
}

void plug_layer_check_foreign(struct plug_layer * layer, const struct ggml_tensor * attention, const void * owner) {
    const uint64_t k_generation = plug_roots_generation(attention->src[1]->view_src, owner);
    const uint64_t v_generation = plug_roots_generation(attention->src[2]->view_src, owner);
    if (k_generation != layer->k_generation || v_generation != layer->v_generation) {
        forget_all(layer);
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
    if (stream->covered != NULL && plug_bit(stream->covered, cell)) {
        stream->covered[cell >> 6] &= ~((uint64_t)1 << (cell & 63));
        vattn_index_forget(stream->index, cell, cell + 1);
    }
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
        job->stream->fingerprints[row] = plug_fingerprint(&job->layer->options, job->kv, row);
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

void plug_stream_free(struct plug_stream * stream) {
    vattn_index_free(stream->index);
    free(stream->state_memory);
    free(stream->covered);
    free(stream->fingerprints);
    plug_stats_index_bytes(-stream->counted_bytes);
    memset(stream, 0, sizeof(*stream));
}

static bool stream_create(struct plug_layer * layer, struct plug_stream * stream) {
    const bool strict = (enum vattn_method)atomic_load(&plug_method) == VATTN_METHOD_SPARSE_STRICT;
    const struct vattn_plan * plan =
        plug_layer_plan(layer, strict ? VATTN_METHOD_SPARSE_STRICT : VATTN_METHOD_SPARSE);
    if (plan == NULL || vattn_index_create(plan, layer->capacity, &stream->index) != VATTN_STATUS_OK) {
        stream->index = NULL;
        return false;
    }
    const size_t n_words = (size_t)(layer->capacity + 63) / 64;
    stream->covered = calloc(2 * n_words, sizeof(uint64_t));
    stream->fingerprints = malloc((size_t)layer->capacity * sizeof(uint16_t));
    stream->state_memory = malloc(vattn_state_bytes(plan));
    if (stream->covered == NULL || stream->fingerprints == NULL || stream->state_memory == NULL) {
        plug_stream_free(stream);
        return false;
    }
    stream->state = vattn_state_init(plan, stream->state_memory);
    stream->calibrate_at = PLUG_CALIBRATE_ROWS;
    stream->counted_bytes = (int64_t)(vattn_index_bytes(plan, layer->capacity) + vattn_state_bytes(plan) +
                                      2 * n_words * sizeof(uint64_t) + (size_t)layer->capacity * sizeof(uint16_t));
    plug_stats_index_bytes(stream->counted_bytes);
    return true;
}

struct calibrate_job {
    struct vattn_index * index;
    const struct vattn_kv * kv;
    const float * moment;
    int32_t n_kv_heads;
};

/* A task is a KV head. */
static void calibrate_heads(struct plug_team * team, void * data) {
    const struct calibrate_job * job = data;
    if (plug_team_leads(team)) {
        team->n_tasks = job->n_kv_heads;
    }
    plug_team_barrier(team);
    for (int32_t g = plug_team_take(team); g >= 0; g = plug_team_take(team)) {
        (void)vattn_index_calibrate_head(job->index, job->kv, job->moment, g);
    }
}

/* Keys drift as a text grows: a code fitted to the first thousand rows is fitted again at four times as many. */
static void calibrate(struct plug_layer * layer, struct plug_stream * stream, const struct vattn_kv * kv,
                      int64_t n_visible, int32_t n_threads) {
    const int64_t begin = plug_now_ns();
    float * moment = plug_queries_moment(layer);
    struct calibrate_job job = {stream->index, kv, moment, layer->options.n_kv_heads};
    if (vattn_index_calibrate_begin(stream->index, kv) == VATTN_STATUS_OK) {
        plug_team_run(n_threads, calibrate_heads, &job);
        (void)vattn_index_calibrate_end(stream->index); /* if it failed, the index says so and calls stay exact */
    }
    free(moment);
    memset(stream->covered, 0, (size_t)(layer->capacity + 63) / 64 * sizeof(uint64_t));
    stream->calibrate_at = 4 * n_visible;
    if (vattn_index_calibrated(stream->index)) {
        encode_pending(layer, stream, kv, n_threads);
    }
    plug_stats_calibration_ns(plug_now_ns() - begin);
}

/* What changes rows in one layer behind our back changes them in all: looks of all layers add up. */
static void heed_alarms(struct plug_layer * layer, struct plug_stream * stream, const struct vattn_kv * kv,
                        uint64_t * n_alarms) {
    if (layer->n_alarms == *n_alarms && vattn_index_calibrated(stream->index) &&
        !plug_fingerprints_hold(&layer->options, stream, kv)) {
        ++*n_alarms;
        plug_stats_stale();
    }
    if (layer->n_alarms != *n_alarms) {
        layer->n_alarms = *n_alarms;
        forget_all(layer);
    }
}

/* For tests: rows that the index covers and that a query sees must be what the live cache holds. */
static void count_stale_rows(const struct plug_stream * stream, const struct vattn_kv * kv) {
    int64_t n_stale = 0;
    int64_t n_covered = 0;
    for (int64_t row = 0; row < kv->n_keys; row++) {
        const bool is_visible = kv->visible == NULL || plug_bit(kv->visible, row);
        if (is_visible && vattn_index_covered(stream->index, row, row + 1) > 0) {
            n_covered++;
            n_stale += !vattn_index_row_current(stream->index, kv, row);
        }
    }
    plug_stats_validated(n_covered, n_stale);
}

const struct vattn_index * plug_stream_update(struct plug_layer * layer, int64_t stream_number,
                                              const struct vattn_kv * kv, int64_t n_visible, int32_t n_threads,
                                              uint64_t * n_alarms) {
    struct plug_stream * stream = &layer->streams[stream_number];
    if (n_visible < PLUG_CALIBRATE_ROWS || (stream->index == NULL && !stream_create(layer, stream))) {
        return NULL;
    }
    heed_alarms(layer, stream, kv, n_alarms);
    if (n_visible >= stream->calibrate_at) {
        calibrate(layer, stream, kv, n_visible, n_threads);
    }
    if (!vattn_index_calibrated(stream->index)) {
        return NULL;
    }
    encode_pending(layer, stream, kv, n_threads);
    if (plug_options.validate) {
        count_stale_rows(stream, kv);
    }
    return stream->index;
}
