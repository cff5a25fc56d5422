/* SPDX-License-Identifier: MIT
 *
 * Scratch memory of a sparse call and the sets of rows that are always read.
 */
#include "sparse/sparse.h"

#include <string.h>

#include "base/random.h"
#include "call/rows.h"

#define SAMPLE 1024 /* least size of the design's subsample */

static struct vattn_slot lay_slot(const struct vattn_plan * plan, struct vattn_scratch * a, const struct vattn_sparse * s) {
    size_t group = (size_t)plan->group, ld = (size_t)s->ld, chunks = (size_t)s->n_chunks, list = ld + 64 * chunks;
    size_t sample = group * (size_t)s->sample_ld, v_dim = (size_t)plan->opt.v_dim;
    size_t judges = (group + VATTN_JUDGE_HEADS - 1) / VATTN_JUDGE_HEADS;
    struct vattn_slot v;
    v.scores = vattn_scratch_take(a, group * ld, sizeof *v.scores);
    v.weights = vattn_scratch_take(a, group * ld, sizeof *v.weights);
    v.rows = vattn_scratch_take(a, list, sizeof *v.rows);
    v.prob = vattn_scratch_take(a, list, sizeof *v.prob);
    v.draw = vattn_scratch_take(a, list, sizeof *v.draw);
    v.keep = vattn_scratch_take(a, list, sizeof *v.keep);
    v.spare = vattn_scratch_take(a, VATTN_SPARSE_TOGETHER * list, sizeof *v.spare);
    v.inverse = vattn_scratch_take(a, list, sizeof *v.inverse);
    v.key_prob = vattn_scratch_take(a, list, sizeof *v.key_prob);
    v.kind = vattn_scratch_take(a, list, sizeof *v.kind);
    v.key2 = vattn_scratch_take(a, list, sizeof *v.key2);
    v.off2 = vattn_scratch_take(a, list, sizeof *v.off2);
    v.list_bonus = vattn_scratch_take(a, list, sizeof *v.list_bonus);
    v.stand_in = vattn_scratch_take(a, (group + 3) / 4 * 4 * chunks * VATTN_MOST_KINDS, sizeof *v.stand_in);
    v.key_squares = vattn_scratch_take(a, group * chunks, sizeof *v.key_squares);
    v.judge_tile = vattn_scratch_take(a, judges * 2 * VATTN_PICKS * v_dim, sizeof *v.judge_tile);
    v.sample = vattn_scratch_take(a, sample, sizeof *v.sample);
    v.sample_w2 = vattn_scratch_take(a, sample, sizeof *v.sample_w2);
    v.judge_scratch = vattn_scratch_take(a, judges * VATTN_JUDGE_HEADS * (size_t)s->chunk, sizeof *v.judge_scratch);
    v.partials = vattn_scratch_take(a, chunks * vattn_partial_floats(plan->group, plan->opt.v_dim), sizeof *v.partials);
    return v;
}

struct vattn_sparse * vattn_sparse_layout(const struct vattn_plan * plan, struct vattn_scratch * a, int64_t n_keys) {
    const struct vattn_options * o = &plan->opt;
    size_t heads = (size_t)o->n_heads, kv_heads = (size_t)o->n_kv_heads, v_dim = (size_t)o->v_dim;
    int64_t n = n_keys < 1 ? 1 : n_keys, chunk = vattn_call_chunk_rows(n, o->n_kv_heads);
    struct vattn_sparse v = {.chunk = chunk, .n_chunks = (int32_t)((n + chunk - 1) / chunk), .ld = (n + 63) / 64 * 64};
    size_t ld = (size_t)v.ld, chunks = (size_t)v.n_chunks;
    v.sample_ld = (v.ld / 32 > SAMPLE ? v.ld / 32 : SAMPLE) + 64;
    struct vattn_sparse * s = vattn_scratch_take(a, 1, sizeof *s);
    v.heads = vattn_scratch_take(a, heads, sizeof *v.heads);
    v.groups = vattn_scratch_take(a, kv_heads, sizeof *v.groups);
    v.chunks = vattn_scratch_take(a, kv_heads * chunks, sizeof *v.chunks);
    v.thresholds = vattn_scratch_take(a, heads, sizeof *v.thresholds);
    v.key_thresholds = vattn_scratch_take(a, heads, sizeof *v.key_thresholds);
    v.query_weights = vattn_scratch_take(a, heads * (size_t)o->head_dim, 1);
    v.visible = vattn_scratch_take(a, ld / 16, sizeof *v.visible);
    v.sure = vattn_scratch_take(a, ld / 16, sizeof *v.sure);
    v.sure_sum = vattn_scratch_take(a, heads, sizeof *v.sure_sum);
    v.chunk_max = vattn_scratch_take(a, heads * chunks, sizeof *v.chunk_max);
    v.design_sums = vattn_scratch_take(a, heads * 2, sizeof *v.design_sums);
    v.sample_scale = vattn_scratch_take(a, kv_heads, sizeof *v.sample_scale);
    v.sample_n = vattn_scratch_take(a, kv_heads, sizeof *v.sample_n);
    v.estimates = vattn_scratch_take(a, heads * v_dim, sizeof *v.estimates);
    v.mean_rows = vattn_scratch_take(a, kv_heads, vattn_row_size(o->v_type, o->v_dim));
    v.free_slots = vattn_scratch_take(a, (kv_heads + 63) / 64, sizeof *v.free_slots);
    v.slots = vattn_scratch_take(a, kv_heads, sizeof *v.slots);
    for (size_t i = 0; i < kv_heads; i++) {
        struct vattn_slot slot = lay_slot(plan, a, &v);
        if (s != NULL) {
            v.slots[i] = slot;
        }
    }
    if (s != NULL) {
        *s = v;
    }
    return s;
}

void vattn_sparse_begin(struct vattn_call * c) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_options * o = &c->plan->opt;
    memset(s->heads, 0, (size_t)o->n_heads * sizeof *s->heads);
    memset(s->groups, 0, (size_t)o->n_kv_heads * sizeof *s->groups);
    vattn_sparse_free_slots(c);
    s->pick_key = vattn_mix64(vattn_mix64(o->seed + UINT64_C(0x632BE59BD9B4E019)) + c->in.nonce) + vattn_mix64((uint64_t)c->in.layer + 1);
    vattn_call_mark_rows(c, s->visible, s->sure);
}
