/* SPDX-License-Identifier: MIT
 *
 * Scratch memory of a strict call and the rows that are read for certain from the start.
 */
#include "strict/strict.h"

#include <string.h>

#define CHUNK      4096
#define MAX_CHUNKS 64

static int64_t chunk_rows(int64_t n) {
    int64_t chunks = (n + CHUNK - 1) / CHUNK;
    chunks = chunks < 1 ? 1 : chunks > MAX_CHUNKS ? MAX_CHUNKS : chunks;
    return ((n + chunks - 1) / chunks + 63) / 64 * 64;
}

struct vattn_strict * vattn_strict_layout(const struct vattn_plan * plan, struct vattn_scratch * a, int64_t n_keys) {
    const struct vattn_options * o = &plan->opt;
    size_t heads = (size_t)o->n_heads, kv_heads = (size_t)o->n_kv_heads, v_dim = (size_t)o->v_dim;
    int64_t n = n_keys < 1 ? 1 : n_keys, chunk = chunk_rows(n);
    struct vattn_strict v = {.chunk = chunk, .n_chunks = (int32_t)((n + chunk - 1) / chunk), .ld = (n + 63) / 64 * 64};
    size_t ld = (size_t)v.ld, chunks = (size_t)v.n_chunks, list = kv_heads * (ld + 64 * chunks);
    struct vattn_strict * s = vattn_scratch_take(a, 1, sizeof *s);
    v.heads = vattn_scratch_take(a, heads, sizeof *v.heads);
    v.groups = vattn_scratch_take(a, kv_heads, sizeof *v.groups);
    v.chunks = vattn_scratch_take(a, kv_heads * chunks, sizeof *v.chunks);
    v.tables = vattn_scratch_take(a, kv_heads, sizeof *v.tables);
    v.query_weights = vattn_scratch_take(a, heads * (size_t)o->head_dim, 1);
    v.visible = vattn_scratch_take(a, ld / 16, sizeof *v.visible);
    v.sure = vattn_scratch_take(a, kv_heads * ld / 16, sizeof *v.sure);
    v.known = vattn_scratch_take(a, kv_heads * ld / 64, sizeof *v.known);
    v.scores = vattn_scratch_take(a, heads * ld, sizeof *v.scores);
    v.weights = vattn_scratch_take(a, heads * ld, sizeof *v.weights);
    v.pull = vattn_scratch_take(a, heads * ld, sizeof *v.pull);
    v.margin = vattn_scratch_take(a, kv_heads * ld, sizeof *v.margin);
    v.rows = vattn_scratch_take(a, list, sizeof *v.rows);
    v.prob = vattn_scratch_take(a, list, sizeof *v.prob);
    v.draw = vattn_scratch_take(a, list, sizeof *v.draw);
    v.keep = vattn_scratch_take(a, list, sizeof *v.keep);
    v.no_bonus = vattn_scratch_take(a, (size_t)chunk + 64, 1);
    v.log2_sum = vattn_scratch_take(a, heads * chunks, sizeof *v.log2_sum);
    v.centers = vattn_scratch_take(a, heads * v_dim, sizeof *v.centers);
    v.estimates = vattn_scratch_take(a, heads * v_dim, sizeof *v.estimates);
    v.buckets = vattn_scratch_take(a, heads * VATTN_BUCKETS * v_dim, sizeof *v.buckets);
    v.sample = vattn_scratch_take(a, (3 * heads + 2 * kv_heads) * VATTN_STRICT_SAMPLE, sizeof *v.sample);
    v.partials = vattn_scratch_take(a, chunks * vattn_partial_floats(o->n_heads, o->v_dim), sizeof *v.partials);
    if (s != NULL) {
        *s = v;
    }
    return s;
}

static void put_word(uint16_t * set, int64_t w, uint64_t bits) {
    for (int k = 0; k < 4; k++) {
        set[w * 4 + k] = (uint16_t)(bits >> (16 * k));
    }
}

/* Visible rows without a code, the first `sink` and the last `window` visible rows. */
static void mark_sure(const struct vattn_call * c, uint16_t * set) {
    const struct vattn_strict * s = c->strict;
    const struct vattn_kv * kv = c->in.kv;
    const struct vattn_index * x = c->in.index;
    int64_t words = vattn_words(kv->n_keys), left = c->plan->opt.sink;
    for (int64_t w = 0; w < words; w++) {
        uint64_t visible = vattn_word(kv->visible, w, kv->n_keys), sure = visible;
        sure &= w * 64 < x->capacity ? ~x->covered[w] : ~(uint64_t)0;
        for (uint64_t rest = visible; rest != 0 && left > 0; rest &= rest - 1, left--) {
            sure |= rest & (~rest + 1);
        }
        put_word(s->visible, w, visible);
        put_word(set, w, sure);
    }
    left = c->plan->opt.window;
    for (int64_t w = words - 1; w >= 0 && left > 0; w--) {
        uint64_t visible = vattn_word(kv->visible, w, kv->n_keys);
        for (int b = 63; b >= 0 && left > 0; b--) {
            if ((visible >> b & 1U) != 0) {
                set[w * 4 + b / 16] = (uint16_t)(set[w * 4 + b / 16] | 1U << (b % 16));
                left--;
            }
        }
    }
}

void vattn_strict_begin(struct vattn_call * c) {
    struct vattn_strict * s = c->strict;
    const struct vattn_options * o = &c->plan->opt;
    size_t words = (size_t)s->ld / 16;
    memset(s->heads, 0, (size_t)o->n_heads * sizeof *s->heads);
    memset(s->groups, 0, (size_t)o->n_kv_heads * sizeof *s->groups);
    memset(s->known, 0, (size_t)o->n_kv_heads * (size_t)s->ld / 64 * sizeof *s->known);
    memset(s->no_bonus, 0, (size_t)s->chunk + 64);
    mark_sure(c, s->sure);
    for (size_t g = 1; g < (size_t)o->n_kv_heads; g++) {
        memcpy(s->sure + g * words, s->sure, words * sizeof *s->sure);
    }
}
