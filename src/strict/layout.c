/* SPDX-License-Identifier: MIT
 *
 * Scratch memory of a strict call and the rows that are read for certain from the start.
 */
#include "strict/strict.h"

#include <string.h>

#include "call/rows.h"

struct vattn_strict * vattn_strict_layout(const struct vattn_plan * plan, struct vattn_scratch * a, int64_t n_keys) {
    const struct vattn_options * o = &plan->opt;
    size_t heads = (size_t)o->n_heads, kv_heads = (size_t)o->n_kv_heads, v_dim = (size_t)o->v_dim;
    int64_t n = n_keys < 1 ? 1 : n_keys, chunk = vattn_call_chunk_rows(n, o->n_kv_heads);
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
    v.sample = vattn_scratch_take(a, (3 * heads + 2 * kv_heads) * VATTN_STRICT_SAMPLE, sizeof *v.sample);
    v.partials = vattn_scratch_take(a, chunks * vattn_partial_floats(o->n_heads, o->v_dim), sizeof *v.partials);
    if (s != NULL) {
        *s = v;
    }
    return s;
}

void vattn_strict_begin(struct vattn_call * c) {
    struct vattn_strict * s = c->strict;
    const struct vattn_options * o = &c->plan->opt;
    size_t words = (size_t)s->ld / 16;
    memset(s->heads, 0, (size_t)o->n_heads * sizeof *s->heads);
    memset(s->groups, 0, (size_t)o->n_kv_heads * sizeof *s->groups);
    memset(s->known, 0, (size_t)o->n_kv_heads * (size_t)s->ld / 64 * sizeof *s->known);
    memset(s->no_bonus, 0, (size_t)s->chunk + 64);
    vattn_call_mark_rows(c, s->visible, s->sure);
    for (size_t g = 1; g < (size_t)o->n_kv_heads; g++) {
        memcpy(s->sure + g * words, s->sure, words * sizeof *s->sure);
    }
}
