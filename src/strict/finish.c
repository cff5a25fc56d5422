/* SPDX-License-Identifier: MIT
 *
 * After a look: which KV heads are done, open or exact; at the end: outputs, certificates, what was read.
 */
#include "strict/strict.h"

#include <math.h>
#include <string.h>

#define FIRST_SHARE 0.85 /* of delta that the first look after the pilot may spend, if another one can follow */

int32_t vattn_strict_looks(const struct vattn_plan * plan) {
    return plan->opt.max_looks < VATTN_STRICT_LOOKS ? plan->opt.max_looks : VATTN_STRICT_LOOKS;
}

/* Scope layer: heads that all keep eps keep it together, so their deltas add up. */
double vattn_strict_alpha(const struct vattn_plan * plan, int32_t look) {
    double delta = plan->opt.scope == VATTN_SCOPE_LAYER ? plan->delta_head / plan->opt.n_heads : plan->delta_head;
    if (vattn_strict_looks(plan) == 2) {
        return delta;
    }
    return look == 1 ? FIRST_SHARE * delta : (1.0 - FIRST_SHARE) * delta;
}

/* All visible rows were read for certain. */
static bool everything_read(const struct vattn_call * c, int32_t g) {
    const struct vattn_strict * s = c->strict;
    int64_t rows = 0, tail = 0;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        rows += vattn_strict_chunk(s, g, k)->n_rows;
        tail += vattn_strict_chunk(s, g, k)->n_tail;
    }
    return rows == c->n_visible && tail == 0;
}

void vattn_strict_decide(struct vattn_call * c, int32_t g) {
    struct vattn_strict * s = c->strict;
    struct vattn_strict_group * group = &s->groups[g];
    bool passed = true;
    group->looks++;
    group->rows_read = 0;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        group->rows_read += vattn_strict_chunk(s, g, k)->n_rows;
    }
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        passed = passed && s->heads[h].passed;
    }
    if (passed) {
        group->state = VATTN_STRICT_DONE;
    } else if (everything_read(c, g) || group->looks >= vattn_strict_looks(c->plan) ||
               (double)group->rows_read > c->plan->opt.max_rows * (double)c->n_visible) {
        group->state = VATTN_STRICT_EXACT;
    }
}

/* Rows of which only K was read: keys that are known and not among the rows read in full. */
static int64_t keys_alone(const struct vattn_call * c, int32_t g) {
    const struct vattn_strict * s = c->strict;
    const uint64_t * known = s->known + (size_t)g * (size_t)(s->ld / 64);
    const uint16_t * sure = s->sure + (size_t)g * (size_t)(s->ld / 16);
    int64_t n = 0;
    for (int64_t w = 0; w < s->ld / 64; w++) {
        uint64_t read = (uint64_t)sure[w * 4] | (uint64_t)sure[w * 4 + 1] << 16 | (uint64_t)sure[w * 4 + 2] << 32 |
                        (uint64_t)sure[w * 4 + 3] << 48;
        n += vattn_popcount(known[w] & ~read);
    }
    return n;
}

/* Of the index: codes, reach, coverage and escape bits, the tables of the query. */
static int64_t index_bytes(const struct vattn_call * c, int32_t g) {
    int64_t n = c->in.kv->n_keys, d = c->plan->opt.head_dim;
    return n * ((int64_t)vattn_layout_token_bytes(c->in.index->books[g].layout) + 3) + n / 4 + n / 16 + 8 * d * (d + 2);
}

void vattn_strict_account(struct vattn_call * c, int32_t g, int64_t * rows_k, int64_t * bytes) {
    const struct vattn_options * o = &c->plan->opt;
    int64_t k_bytes = (int64_t)vattn_row_size(o->k_type, o->head_dim);
    int64_t v_bytes = (int64_t)vattn_row_size(o->v_type, o->v_dim);
    *rows_k = keys_alone(c, g);
    *bytes = c->strict->groups[g].rows_read * (k_bytes + v_bytes) + *rows_k * k_bytes + index_bytes(c, g);
}

static float relative(double radius, double norm) {
    return norm > radius ? (float)(radius / (norm - radius) * (1.0 + 1e-6)) : INFINITY;
}

void vattn_strict_finish(struct vattn_call * c, int32_t g) {
    const struct vattn_strict * s = c->strict;
    const struct vattn_options * o = &c->plan->opt;
    int64_t rows_k, bytes;
    vattn_strict_account(c, g, &rows_k, &bytes);
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        const struct vattn_strict_head * head = &s->heads[h];
        c->cert[h] = (struct vattn_certificate){.answer = VATTN_ANSWER_CERTIFIED,
                                                .rounds = s->groups[g].looks,
                                                .n_keys = c->n_visible,
                                                .rows_kv = s->groups[g].rows_read,
                                                .rows_k = rows_k,
                                                .bytes = bytes,
                                                .error = (float)(sqrt(head->v) / head->norm),
                                                .bound = relative(head->radius, head->norm)};
        memcpy(vattn_call_out(c, h), s->estimates + (size_t)h * (size_t)o->v_dim, (size_t)o->v_dim * sizeof(float));
    }
}

/* Scope layer: every head keeps its own bound, so all of them together keep the largest. */
void vattn_strict_join(struct vattn_call * c) {
    float most = 0.0F;
    for (int32_t h = 0; h < c->plan->opt.n_heads; h++) {
        most = fmaxf(most, c->cert[h].bound);
    }
    for (int32_t h = 0; h < c->plan->opt.n_heads; h++) {
        c->cert[h].bound = most;
    }
}
