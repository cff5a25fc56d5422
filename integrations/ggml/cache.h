/*
 * One layer's cache in one context of the host: its index and what is known about its rows.
 *
 * The index never is more than a hint.  A row that it does not cover is read exactly by every call, so forgetting is always
 * safe; what must not happen is that it covers a row whose K or V have changed.  Four guards, cheapest first:
 *
 *   writes we execute or delegate (SET_ROWS)      the row is forgotten
 *   an operation of the host on the cache         everything is forgotten (roots.h, seen while the graph is built)
 *   writes that bypass graphs (state load)        8 random covered rows per call are compared with their fingerprints;
 *                                                 one mismatch forgets everything, in all layers of the context
 *   rows that appear from nowhere                 were never covered
 *
 * The rows written last stay uncovered: the recent window in the order of writing, which is not the order of rows.
 */
#ifndef PLUG_CACHE_H
#define PLUG_CACHE_H

#include "abi.h"
#include "mask.h"
#include "vattn.h"

enum {
    PLUG_RECENT = 32,           /* rows written last that are never encoded */
    PLUG_ENCODE_BATCH = 64,     /* other rows that may wait before they are encoded together */
    PLUG_CALIBRATE_ROWS = 1024, /* visible rows from which on an index is worth having */
};

struct plug_layer;
struct plug_capture;

/* The rows of one stream (a sequence, or several that share one cache). */
struct plug_stream {
    struct vattn_index * index;
    void * state_memory;
    struct vattn_state * state;
    uint64_t * covered;      /* rows that the index holds, one bit each */
    uint16_t * fingerprints; /* of covered rows */
    int64_t recent[PLUG_RECENT];
    int32_t n_recent, next_recent;
    int64_t calibrate_at; /* calibrate at so many visible rows */
    uint64_t n_checks;
    int64_t counted_bytes;
};

struct plug_layer {
    struct plug_layer * next;
    const void * k_data;
    const void * v_data;
    int32_t number;              /* of the layer in its model */
    int64_t capacity, n_streams; /* rows of a stream; streams */
    struct vattn_options options;
    uint64_t k_generation, v_generation; /* of foreign operations, see roots.h */
    uint64_t n_alarms;                   /* of the context, when this layer last looked */
    uint64_t epoch;                      /* of the last graph that used it */
    struct vattn_plan * plans[VATTN_METHOD_COUNT]; /* by method, made when needed */
    struct plug_stream * streams;
    float * query_sum; /* [n_kv_heads][head_dim][head_dim]: sum of q q' */
    int64_t n_query_sums, n_queries;
    struct plug_capture * capture;
};

static inline bool plug_bit(const uint64_t * bits, int64_t row) {
    return (bits[row >> 6] >> (row & 63) & 1) != 0;
}

/* The layer of an attention node, made on first sight; NULL without memory, or if K is no cache. */
struct plug_layer * plug_layer_of(struct plug_layer ** layers, const struct ggml_tensor * attention);
void plug_layers_free(struct plug_layer * layers);

/* The plan of this layer for a method; NULL if the library refuses. */
const struct vattn_plan * plug_layer_plan(struct plug_layer * layer, enum vattn_method method);

/* Options of a plan for this attention node, with the method of the moment. */
struct vattn_options plug_plan_options(const struct ggml_tensor * attention, int64_t max_keys);

/* Foreign writes since the last look forget everything. */
void plug_layer_check_foreign(struct plug_layer * layer, const struct ggml_tensor * attention, const void * owner);

/* Row `row` of the whole tensor (all streams) is about to be overwritten. */
void plug_layer_row_written(struct plug_layer * layer, int64_t row, bool is_key);

void plug_stream_free(struct plug_stream * stream);

/*
 * Bring the index of a stream up to date for a call that sees these rows; NULL = answer without an index.
 * n_alarms counts the changed rows that a context came across in any of its layers.
 */
const struct vattn_index * plug_stream_update(struct plug_layer * layer, int64_t stream, const struct vattn_kv * kv,
                                              int64_t n_visible, int32_t n_threads, uint64_t * n_alarms);

#endif
