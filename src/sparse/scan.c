/* SPDX-License-Identifier: MIT
 *
 * PREPARE: query heads against the code book.  SCAN: proxy scores of all rows of a chunk; keys on the escape list are
 * read and replace their proxies.
 */
#include "sparse/sparse.h"

#include <math.h>

/* A query whose expected proxy error is far above what the code was calibrated for is answered exactly. */
#define ALIEN_FACTOR 16.0F
#define ALIEN_LEAST  0.25F /* log2 units squared: below, the proxy is good whatever the calibration saw */

/* An index without kinds (of a strict plan) has its mean value in f32 only. */
static void round_mean(struct vattn_call * c, int32_t g) {
    const struct vattn_options * o = &c->plan->opt;
    char * out = c->sparse->mean_rows + (size_t)g * vattn_row_size(o->v_type, o->v_dim);
    vattn_row_write(o->v_type, c->in.index->books[g].v_mean, o->v_dim, out);
}

void vattn_sparse_prepare(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    if (c->in.index->kinds == NULL) {
        round_mean(c, g);
    }
    const struct vattn_code_book * book = &c->in.index->books[g];
    int32_t d = c->plan->opt.head_dim, end = (g + 1) * c->plan->group;
    struct vattn_query_code code[VATTN_QUERIES];
    float sigma2[VATTN_QUERIES];
    for (int32_t h = g * c->plan->group, n; h < end; h += n) {
        n = end - h < VATTN_QUERIES ? end - h : VATTN_QUERIES;
        vattn_index_query(c->plan->kern, book, d, c->q + (size_t)h * (size_t)d, n,
                          s->query_weights + (size_t)h * (size_t)d, code, sigma2);
        for (int32_t i = 0; i < n; i++) {
            s->heads[h + i].code = code[i];
            s->heads[h + i].sigma = sqrtf(sigma2[i]);
            if (sigma2[i] > ALIEN_LEAST && sigma2[i] > ALIEN_FACTOR * book->sigma2_usual) {
                s->groups[g].state = VATTN_GROUP_EXACT;
            }
        }
    }
}

static int32_t escaped_rows(const struct vattn_call * c, int32_t g, int64_t begin, int64_t end, int32_t * list) {
    const struct vattn_sparse * s = c->sparse;
    const uint64_t * escape = vattn_index_escape(c->in.index, g);
    int32_t n = 0;
    for (int64_t w = begin / 64; w * 64 < end && w * 64 < c->in.index->capacity; w++) {
        uint64_t bits = escape[w];
        for (int k = 0; k < 4 && bits != 0; k++) {
            uint64_t part = (uint64_t)(uint16_t)(s->visible[w * 4 + k] & ~s->sure[w * 4 + k]) << (16 * k);
            bits &= part | ~((uint64_t)0xffff << (16 * k));
        }
        for (; bits != 0; bits &= bits - 1) {
            list[n++] = (int32_t)(w * 64 + vattn_lowest(bits));
        }
    }
    return n;
}

static void read_escapes(struct vattn_call * c, int32_t g, int32_t chunk, int64_t begin, int64_t end) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group;
    int32_t * list = vattn_sparse_slot(s, g)->rows + vattn_sparse_list(s, chunk);
    float * exact = vattn_sparse_weights(c, g * group, chunk); /* spare until GATHER */
    struct vattn_rows k = vattn_k_rows(c->in.kv, g);
    k.index = list;
    k.n = escaped_rows(c, g, begin, end, list);
    vattn_sparse_chunk(s, g, chunk)->n_escaped = k.n;
    if (k.n == 0) {
        return;
    }
    vattn_plan_score(c->plan, &k, vattn_call_q(c, g), group, exact, s->ld);
    for (int32_t i = 0; i < group; i++) {
        float * scores = vattn_sparse_slot(s, g)->scores + (size_t)i * (size_t)s->ld;
        for (int32_t j = 0; j < k.n; j++) {
            scores[list[j]] = exact[(size_t)i * (size_t)s->ld + (size_t)j];
        }
    }
}

/* Rows that are hidden or read anyway have no proxy: their codes may be stale or missing. */
static void hide_rows(struct vattn_call * c, int32_t g, int64_t begin, int32_t blocks) {
    const struct vattn_sparse * s = c->sparse;
    float * scores = vattn_sparse_slot(s, g)->scores;
    for (int64_t b = begin / 16; b < begin / 16 + blocks; b++) {
        for (uint32_t bits = (uint16_t)(~s->visible[b] | s->sure[b]); bits != 0; bits &= bits - 1) {
            int64_t row = b * 16 + __builtin_ctz(bits);
            for (int32_t i = 0; i < c->plan->group; i++) {
                scores[(size_t)i * (size_t)s->ld + (size_t)row] = -INFINITY;
            }
        }
    }
}

void vattn_sparse_scan(struct vattn_call * c, int32_t g, int32_t chunk) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_index * x = c->in.index;
    struct vattn_query_code query[16];
    int32_t group = c->plan->group;
    int64_t begin = vattn_sparse_chunk_begin(s, chunk), end = vattn_sparse_chunk_end(c, chunk);
    int32_t blocks = (int32_t)((end - begin + VATTN_BLOCK - 1) / VATTN_BLOCK);
    float * scores = vattn_sparse_slot(s, g)->scores + (size_t)begin;
    for (int32_t i = 0; i < group && blocks > 0; i += 16) {
        int32_t n = group - i < 16 ? group - i : 16;
        for (int32_t k = 0; k < n; k++) {
            query[k] = s->heads[g * group + i + k].code;
        }
        c->plan->kern->scan(vattn_index_block(x, g, begin), blocks, x->books[g].layout, query, n,
                            scores + (size_t)i * (size_t)s->ld, (ptrdiff_t)s->ld);
    }
    hide_rows(c, g, begin, blocks);
    read_escapes(c, g, chunk, begin, end);
    for (int32_t i = 0; i < group; i++) {
        int32_t head = g * group + i;
        s->chunk_max[(size_t)head * (size_t)s->n_chunks + (size_t)chunk] =
            c->plan->kern->max(scores + (size_t)i * (size_t)s->ld, blocks * VATTN_BLOCK);
    }
}
