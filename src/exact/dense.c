/* SPDX-License-Identifier: MIT */
#include "exact/dense.h"

#include "base/bits.h"
#include "combine/partial.h"

#define TILE  64 /* rows per tile: one word of the visible set */
#define HEADS 16 /* heads per pass over a tile */
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
static int32_t tile_rows(uint64_t word, int64_t first, int64_t end, int32_t * list) {
    int32_t n = 0;
    for (; word != 0; word &= word - 1) {
        int64_t r = first + vattn_lowest(word);
        if (r < end) {
            list[n++] = (int32_t)r;
        }
    }
    return n;
}

void vattn_dense_range(const struct vattn_plan * plan, const struct vattn_kv * kv, int32_t g, const float * q,
                       int64_t begin, int64_t end, struct vattn_partial partial) {
    for (int64_t r = begin; r < end; r += TILE) {
        int32_t list[TILE];
        struct vattn_rows k = vattn_k_rows(kv, g), v = vattn_v_rows(kv, g);
        uint64_t word = vattn_word(kv->visible, r / TILE, end);
        if (word == 0) {
            continue;
        }
        if (word == vattn_word_limit(r / TILE, end)) {
            k.base = (const char *)k.base + (size_t)r * k.stride;
            v.base = (const char *)v.base + (size_t)r * v.stride;
            k.n = v.n = (int32_t)(end - r < TILE ? end - r : TILE);
        } else {
            k.index = v.index = list;
            k.n = v.n = tile_rows(word, r, end, list);
        }
        for (int32_t h = 0; h < plan->group; h += HEADS) {
            int32_t heads = plan->group - h < HEADS ? plan->group - h : HEADS;
            add_tile(plan, &k, &v, q + (size_t)h * (size_t)plan->opt.head_dim, heads,
                     vattn_partial_skip(partial, h));
        }
    }
}
