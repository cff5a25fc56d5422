/* SPDX-License-Identifier: MIT
 *
 * GATHER: draw the rows of one chunk of one KV head and read them: exact scores, weights e/pi, numerator, denominator.
 *
 * All heads of the group use every row that was read, with the group's pi.  The probability of a row that had been read
 * at an earlier look is the new one: the draws are nested (same u), so the sample is one of the new design.
 */
#include "sparse/sparse.h"

#include <string.h>

#include "base/random.h"

#define FLOOR (VATTN_PROB_ONE >> 10)

static int32_t draw(struct vattn_call * c, int32_t g, int32_t chunk, int32_t * rows, int32_t * prob) {
    struct vattn_sparse * s = c->sparse;
    int64_t begin = vattn_sparse_chunk_begin(s, chunk), end = vattn_sparse_chunk_end(c, chunk);
    const struct vattn_options * o = &c->plan->opt;
    struct vattn_random_key key = {{(uint32_t)o->seed, (uint32_t)(o->seed >> 32)},
                                   {(uint32_t)c->in.nonce, (uint32_t)(c->in.nonce >> 32)},
                                   vattn_random_stream(VATTN_RANDOM_SAMPLE, c->in.layer, g)};
    int32_t group = c->plan->group;
    int32_t blocks = (int32_t)((end - begin + VATTN_BLOCK - 1) / VATTN_BLOCK);
    return c->plan->kern->select(s->scores + (size_t)(g * group) * (size_t)s->ld + (size_t)begin, s->ld,
                                 s->thresholds + g * group, group, begin, blocks, s->visible + begin / 16, s->sure + begin / 16, FLOOR, &key, rows, prob);
}

/* Rows with pi < 1 first, in order; returns their number. */
static int32_t tail_first(int32_t * rows, int32_t * prob, int32_t n, int32_t * spare) {
    int32_t tail = 0, sure = 0;
    for (int32_t i = 0; i < n; i++) {
        if (prob[i] < VATTN_PROB_ONE) {
            rows[tail] = rows[i];
            prob[tail++] = prob[i];
        } else {
            spare[sure++] = rows[i];
        }
    }
    for (int32_t i = 0; i < sure; i++) {
        rows[tail + i] = spare[i];
        prob[tail + i] = VATTN_PROB_ONE;
    }
    return tail;
}

/* Scores -> weights e/pi relative to the chunk's maximum; m and d of the partial. */
static void weigh(const struct vattn_kernels * kern, struct vattn_partial p, int32_t h, float * w, const int32_t * prob,
                  int32_t n) {
    p.m[h] = kern->max(w, n);
    kern->exp2_sum(w, n, p.m[h]);
    float sum[8] = {0};
    for (int32_t j = 0; j < n; j++) {
        w[j] *= (float)VATTN_PROB_ONE / (float)prob[j];
        sum[j & 7] += w[j];
    }
    p.d[h] = ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

void vattn_sparse_gather(struct vattn_call * c, int32_t g, int32_t chunk) {
    struct vattn_sparse * s = c->sparse;
    struct vattn_chunk * out = vattn_sparse_chunk(s, g, chunk);
    int32_t group = c->plan->group, head = g * group;
    int32_t * rows = s->rows + vattn_sparse_list(s, g, chunk);
    int32_t * prob = s->prob + vattn_sparse_list(s, g, chunk);
    struct vattn_partial p = vattn_sparse_partial(c, chunk, head);
    float * w = s->weights + (size_t)head * (size_t)s->ld + (size_t)vattn_sparse_chunk_begin(s, chunk);
    out->n_rows = draw(c, g, chunk, rows, prob);
    /* the weights of this chunk are written below; until then they serve as spare room */
    out->n_tail = tail_first(rows, prob, out->n_rows, (int32_t *)(void *)w);
    vattn_partial_clear(p, group);
    if (out->n_rows == 0) {
        return;
    }
    struct vattn_rows k = vattn_k_rows(c->in.kv, g), v = vattn_v_rows(c->in.kv, g);
    k.index = v.index = rows;
    k.n = v.n = out->n_rows;
    vattn_plan_score(c->plan, &k, vattn_call_q(c, g), group, w, s->ld);
    for (int32_t i = 0; i < group; i++) {
        weigh(c->plan->kern, p, i, w + (size_t)i * (size_t)s->ld, prob, out->n_rows);
    }
    vattn_plan_accumulate(c->plan, &v, w, s->ld, group, p.n);
}
