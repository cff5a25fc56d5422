/* SPDX-License-Identifier: MIT
 *
 * PREPARE: query heads against the code book, and their certified bounds.  SCAN: proxy scores of the rows of a chunk;
 * keys on the escape list are read.
 */
#include "strict/strict.h"

#include <math.h>
#include <string.h>

void vattn_strict_prepare(struct vattn_call * c, int32_t g) {
    struct vattn_strict * s = c->strict;
    int32_t d = c->plan->opt.head_dim;
    vattn_reach_tables(c->in.index, g, &s->tables[g].reach);
    for (int i = 0; i < 256; i++) { /* of the pilot: about the mean value */
        s->tables[g].log2_value[i] = log2f(s->tables[g].reach.value[i] + c->in.index->books[g].v_rms);
    }
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        const float * q = c->q + (size_t)h * (size_t)d;
        float sigma2;
        vattn_index_query(c->plan->kern, &c->in.index->books[g], d, q, 1, s->query_weights + (size_t)h * (size_t)d,
                          &s->heads[h].code, &sigma2);
        s->heads[h].bound = vattn_strict_bound(c, g, q, &s->heads[h].code);
    }
}

static uint64_t sure_word(const struct vattn_strict * s, int32_t g, int64_t w) {
    const uint16_t * at = s->sure + (size_t)g * (size_t)(s->ld / 16) + w * 4;
    return (uint64_t)at[0] | (uint64_t)at[1] << 16 | (uint64_t)at[2] << 32 | (uint64_t)at[3] << 48;
}

static uint64_t visible_word(const struct vattn_strict * s, int64_t w) {
    const uint16_t * at = s->visible + w * 4;
    return (uint64_t)at[0] | (uint64_t)at[1] << 16 | (uint64_t)at[2] << 32 | (uint64_t)at[3] << 48;
}

/* Keys of the escape list: read, and known from now on. */
static void read_escapes(struct vattn_call * c, int32_t g, int32_t chunk) {
    struct vattn_strict * s = c->strict;
    const uint64_t * escape = vattn_index_escape(c->in.index, g);
    int32_t group = c->plan->group, *list = s->rows + vattn_strict_list(s, g, chunk);
    int64_t begin = vattn_strict_begin_row(s, chunk), end = vattn_strict_end_row(c, chunk);
    struct vattn_rows k = vattn_k_rows(c->in.kv, g);
    k.index = list;
    for (int64_t w = begin / 64; w * 64 < end && w * 64 < c->in.index->capacity; w++) {
        uint64_t bits = escape[w] & visible_word(s, w) & ~sure_word(s, g, w);
        s->known[(size_t)g * (size_t)(s->ld / 64) + (size_t)w] |= bits;
        for (; bits != 0; bits &= bits - 1) {
            list[k.n++] = (int32_t)(w * 64 + vattn_lowest(bits));
        }
    }
    if (k.n == 0) {
        return;
    }
    size_t at = (size_t)(g * group) * (size_t)s->ld;
    float * exact = s->weights + at + (size_t)begin; /* spare until GATHER */
    vattn_plan_score(c->plan, &k, vattn_call_q(c, g), group, exact, s->ld);
    for (int32_t i = 0; i < group; i++) {
        float * scores = s->scores + at + (size_t)i * (size_t)s->ld;
        for (int32_t j = 0; j < k.n; j++) {
            scores[list[j]] = exact[(size_t)i * (size_t)s->ld + (size_t)j];
        }
    }
}

static void hide_rows(struct vattn_call * c, int32_t g, int64_t begin, int64_t end) {
    struct vattn_strict * s = c->strict;
    for (int64_t w = begin / 64; w * 64 < end; w++) {
        for (uint64_t bits = ~visible_word(s, w) | sure_word(s, g, w); bits != 0; bits &= bits - 1) {
            int64_t row = w * 64 + vattn_lowest(bits);
            for (int32_t h = g * c->plan->group; row < s->ld && h < (g + 1) * c->plan->group; h++) {
                s->scores[(size_t)h * (size_t)s->ld + (size_t)row] = -INFINITY;
            }
        }
    }
}

/* log2 sum over the chunk of 2^(proxy + log2 value reach), for the pilot. */
static float log2_sum(const struct vattn_call * c, int32_t g, int32_t h, int64_t begin, int64_t end) {
    const struct vattn_strict * s = c->strict;
    const float *scores = s->scores + (size_t)h * (size_t)s->ld, *value = s->tables[g].log2_value;
    double sum = -INFINITY;
    for (int64_t at = begin; at < end; at += VATTN_STRICT_STRIP) {
        int32_t n = (int32_t)(end - at < VATTN_STRICT_STRIP ? end - at : VATTN_STRICT_STRIP);
        const uint8_t * reach = vattn_index_reach(c->in.index, g, at);
        float x[VATTN_STRICT_STRIP];
        for (int32_t j = 0; j < n; j++) {
            x[j] = scores[at + j] + value[reach[3 * j + 2]];
        }
        float m = c->plan->kern->max(x, n);
        if (m > -INFINITY) {
            double part = (double)m + log2((double)c->plan->kern->exp2_sum(x, n, m)), top = fmax(part, sum);
            sum = top + log2(exp2(part - top) + exp2(sum - top));
        }
    }
    return (float)sum;
}

void vattn_strict_scan(struct vattn_call * c, int32_t g, int32_t chunk) {
    struct vattn_strict * s = c->strict;
    const struct vattn_index * x = c->in.index;
    struct vattn_query_code query[16];
    int32_t group = c->plan->group;
    int64_t begin = vattn_strict_begin_row(s, chunk), end = vattn_strict_end_row(c, chunk);
    int32_t blocks = (int32_t)((end - begin + VATTN_BLOCK - 1) / VATTN_BLOCK);
    for (int32_t i = 0; i < group && blocks > 0; i += 16) {
        int32_t n = group - i < 16 ? group - i : 16, head = g * group + i;
        for (int32_t k = 0; k < n; k++) {
            query[k] = s->heads[head + k].code;
        }
        c->plan->kern->scan(vattn_index_block(x, g, begin), blocks, x->books[g].layout, query, n,
                            s->scores + (size_t)head * (size_t)s->ld + (size_t)begin, (ptrdiff_t)s->ld);
    }
    hide_rows(c, g, begin, end);
    read_escapes(c, g, chunk);
    for (int32_t h = g * group; h < (g + 1) * group; h++) {
        s->log2_sum[(size_t)h * (size_t)s->n_chunks + (size_t)chunk] = log2_sum(c, g, h, begin, end);
    }
}
