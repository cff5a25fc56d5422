/* SPDX-License-Identifier: MIT */
#include "exact/dense.h"

#include "base/bits.h"
#include "combine/partial.h"

#define TILE       64    /* rows per tile at most: one word of the visible set */
#define TILE_BYTES 32768 /* of keys of all KV heads: what the first cache holds */
#define HEADS      16    /* heads per pass over a tile */
#define MAX_CHUNKS 64

int64_t vattn_dense_chunk(int64_t n) {
    int64_t chunk = (n + MAX_CHUNKS - 1) / MAX_CHUNKS;
    chunk = (chunk + TILE - 1) / TILE * TILE;
    return chunk < 512 ? 512 : chunk;
}

/* Online softmax: bring the partial to the new max, turn scores into weights, add their sum. */
static void weigh(const struct vattn_kernels * kern, struct vattn_partial p, int32_t h, float * s, int32_t n) {
    float m = kern->max(s, n);
    if (!(m <= p.m[h])) {
        vattn_partial_rescale(p, h, m);
    }
    p.d[h] += kern->exp2_sum(s, n, p.m[h]);
}

static void add_tile(const struct vattn_plan * plan, const struct vattn_rows * k, const struct vattn_rows * v,
                     const float * q, int32_t n_heads, struct vattn_partial partial) {
    float s[HEADS * TILE];
    vattn_plan_score(plan, k, q, n_heads, s, TILE);
    for (int32_t h = 0; h < n_heads; h++) {
        weigh(plan->kern, partial, h, s + h * TILE, k->n);
    }
    vattn_plan_accumulate(plan, v, s, TILE, n_heads, partial.n);
}

/* Rows of one tile: contiguous if all are visible, else a list (hidden rows may hold anything, NaN included). */
static int32_t tile_rows(uint64_t word, int64_t first, int32_t * list) {
    int32_t n = 0;
    for (; word != 0; word &= word - 1) {
        list[n++] = (int32_t)(first + vattn_lowest(word));
    }
    return n;
}

/* A walk over rows of KV heads. */
struct walk {
    const struct vattn_plan * plan;
    const struct vattn_kv * kv;
    bool all_heads;
    int32_t tile; /* rows */
    int64_t end, then;
};

/* Rows whose keys fill the first cache, a power of two: longer tiles of wide rows lose a third of the speed. */
static int32_t tile_of(size_t row_bytes) {
    int32_t tile = TILE;
    while (tile > TILE / 4 && (size_t)tile * row_bytes > TILE_BYTES) {
        tile /= 2;
    }
    return tile;
}

/* The visible rows of the tile at row r; bit 0 is row r. */
static uint64_t tile_word(const struct walk * w, int64_t r) {
    const uint64_t word = vattn_word(w->kv->visible, r / TILE, w->end) >> (r % TILE);
    return word & vattn_word_limit(0, w->tile);
}

/*
 * What to prefetch while KV head g works on the tile at row r: its share of the next tile.  Where the rows of all heads
 * of a token lie side by side the next tile is one block of memory, and heads take their shares in the order of
 * addresses, which memory likes best; else a head prefetches its own rows.
 */
static void look_ahead(const struct walk * w, struct vattn_rows * rows, const void * cache, size_t row_bytes, int32_t g,
                       int64_t r) {
    const bool side_by_side = w->all_heads && rows->stride == row_bytes * (size_t)w->plan->opt.n_kv_heads;
    const size_t next = (size_t)(r + w->tile < w->end ? r + w->tile : w->then) * rows->stride;
    rows->ahead = side_by_side ? (const char *)cache + next + (size_t)g * (size_t)w->tile * row_bytes
                               : (const char *)rows->base + next;
    rows->ahead_stride = side_by_side ? row_bytes : rows->stride;
}

static void dense_tile(const struct walk * w, int32_t g, const float * q, int64_t r, struct vattn_partial partial) {
    int32_t list[TILE];
    const struct vattn_options * o = &w->plan->opt;
    const struct vattn_kv * kv = w->kv;
    struct vattn_rows k = vattn_k_rows(kv, g), v = vattn_v_rows(kv, g);
    const uint64_t word = tile_word(w, r);
    if (word == 0) {
        return;
    }
    look_ahead(w, &k, kv->k, vattn_row_size(o->k_type, o->head_dim), g, r);
    look_ahead(w, &v, kv->v, vattn_row_size(o->v_type, o->v_dim), g, r);
    if ((word & (word + 1)) == 0) { /* no gap */
        k.base = (const char *)k.base + (size_t)r * k.stride;
        v.base = (const char *)v.base + (size_t)r * v.stride;
        k.n = v.n = vattn_popcount(word);
    } else {
        k.index = v.index = list;
        k.n = v.n = tile_rows(word, r, list);
    }
    for (int32_t h = 0; h < w->plan->group; h += HEADS) {
        int32_t heads = w->plan->group - h < HEADS ? w->plan->group - h : HEADS;
        add_tile(w->plan, &k, &v, q + (size_t)h * (size_t)o->head_dim, heads, vattn_partial_skip(partial, h));
    }
}

/* Tile by tile, all heads of a tile: the rows of all KV heads of a token lie side by side in the usual caches. */
void vattn_dense_rows(const struct vattn_plan * plan, const struct vattn_kv * kv, const float * q, int32_t first_head,
                      int32_t n_heads, int64_t begin, int64_t end, int64_t then, struct vattn_partial all) {
    const size_t q_stride = (size_t)plan->group * (size_t)plan->opt.head_dim;
    const size_t row = (size_t)plan->opt.n_kv_heads * vattn_row_size(plan->opt.k_type, plan->opt.head_dim);
    const struct walk w = {plan, kv, n_heads == plan->opt.n_kv_heads, tile_of(row), end, then};
    for (int64_t r = begin; r < end; r += w.tile) {
        for (int32_t g = first_head; g < first_head + n_heads; g++) {
            dense_tile(&w, g, q + (size_t)g * q_stride, r, vattn_partial_skip(all, g * plan->group));
        }
    }
}
