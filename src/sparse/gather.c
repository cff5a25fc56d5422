/* SPDX-License-Identifier: MIT
 *
 * GATHER: draw the rows of one chunk of one KV head and read them: exact scores, weights 1/pi, numerator, denominator.
 *
 * One random number u per row decides in two stages.  The key is read iff u < pi1, which the proxies give; the exact
 * scores then lower the probability, and the value is read, and the row used, iff u < pi:
 *
 *     pi1 = clamp(2^(max_h(P_h - tk_h)), floor, 1)           P_h = proxy score + value bonus
 *     pi  = min(pi1, max(pi1 / 16, 2^(max_h(s_h + bonus - t_h))))      s_h = exact score
 *
 * pi is a function of q, K and the thresholds alone, so the rows used are a Poisson sample with probabilities pi: what
 * the two stages save is values that the exact score shows to be unimportant.
 * All heads of the group use every row with the group's pi.  The probability of a row that had been read at an earlier
 * look is the new one: draws are nested (same u), so the sample is one of the new design.
 */
#include "sparse/sparse.h"

#include <string.h>

#include "base/random.h"

#define FLOOR     (VATTN_PROB_ONE >> 10)
#define KEEP_LEAST 4 /* pi >= pi1 / 2^4 */

static int32_t draw_keys(struct vattn_call * c, int32_t g, int32_t chunk, int32_t * rows, int32_t * prob,
                         int32_t * draw) {
    const struct vattn_sparse * s = c->sparse;
    const struct vattn_options * o = &c->plan->opt;
    int64_t begin = vattn_sparse_chunk_begin(s, chunk), end = vattn_sparse_chunk_end(c, chunk);
    int32_t group = c->plan->group, blocks = (int32_t)((end - begin + VATTN_BLOCK - 1) / VATTN_BLOCK);
    struct vattn_random_key key = {{(uint32_t)o->seed, (uint32_t)(o->seed >> 32)},
                                   {(uint32_t)c->in.nonce, (uint32_t)(c->in.nonce >> 32)},
                                   vattn_random_stream(VATTN_RANDOM_SAMPLE, c->in.layer, g)};
    return c->plan->kern->select(vattn_sparse_slot(s, g)->scores + (size_t)begin, s->ld,
                                 s->key_thresholds + g * group, group, begin, blocks, s->visible + begin / 16,
                                 s->sure + begin / 16, vattn_sparse_bonus(c, g, begin), FLOOR, &key, rows, prob, draw);
}

static void compact_ints(int32_t * x, const int32_t * keep, int32_t n, int32_t * spare) {
    for (int32_t k = 0; k < n; k++) {
        spare[k] = x[keep[k]];
    }
    memcpy(x, spare, (size_t)n * sizeof *x);
}

/* w *= inverse, and their sum. */
static float weighted_sum(float * w, const float * inverse, int32_t n) {
    float sum[8] = {0};
    int32_t j = 0;
    for (; j + 8 <= n; j += 8) {
        for (int32_t k = 0; k < 8; k++) {
            w[j + k] *= inverse[j + k];
            sum[k] += w[j + k];
        }
    }
    for (; j < n; j++) {
        w[j] *= inverse[j];
        sum[j & 7] += w[j];
    }
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

/* Scores -> weights e/pi relative to the chunk's maximum; m and d of the partial. */
static void weigh(const struct vattn_kernels * kern, struct vattn_partial p, int32_t h, float * w, const float * inverse,
                  int32_t n) {
    p.m[h] = kern->max(w, n);
    (void)kern->exp2_sum(w, n, p.m[h]);
    p.d[h] = weighted_sum(w, inverse, n);
}

/* Keys: rows drawn by their proxies, exact scores, then the rows that stay, compact, with scores in place. */
static void read_keys(struct vattn_call * c, int32_t g, int32_t chunk, int32_t * rows, int32_t * prob, float * w) {
    struct vattn_sparse * s = c->sparse;
    struct vattn_chunk * out = vattn_sparse_chunk(s, g, chunk);
    int32_t group = c->plan->group;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    size_t at = vattn_sparse_list(s, chunk);
    int32_t *draw = slot->draw + at, *keep = slot->keep + at;
    int32_t n = draw_keys(c, g, chunk, rows, prob, draw);
    struct vattn_rows k = vattn_k_rows(c->in.kv, g);
    k.index = rows;
    k.n = n;
    out->n_keys = n;
    out->n_rows = out->n_tail = 0;
    if (n == 0) {
        return;
    }
    vattn_plan_score(c->plan, &k, vattn_call_q(c, g), group, w, s->ld);
    int8_t * bonus = slot->list_bonus + at;
    for (int32_t j = 0; j < n; j++) {
        bonus[j] = vattn_sparse_bonus(c, g, 0)[rows[j]];
    }
    out->n_rows = c->plan->kern->thin(w, (ptrdiff_t)s->ld, s->thresholds + g * group, group, n, bonus, KEEP_LEAST, prob,
                                      draw, keep, &out->n_tail);
    compact_ints(rows, keep, out->n_rows, draw);
    compact_ints(prob, keep, out->n_rows, draw);
    for (int32_t i = 0; i < group; i++) {
        float * x = w + (size_t)i * (size_t)s->ld;
        float * spare = slot->spare + at;
        for (int32_t j = 0; j < out->n_rows; j++) {
            spare[j] = x[keep[j]];
        }
        memcpy(x, spare, (size_t)out->n_rows * sizeof *x);
    }
}

void vattn_sparse_gather(struct vattn_call * c, int32_t g, int32_t chunk) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    struct vattn_chunk * out = vattn_sparse_chunk(s, g, chunk);
    int32_t group = c->plan->group, head = g * group;
    int32_t *rows = slot->rows + vattn_sparse_list(s, chunk), *prob = slot->prob + vattn_sparse_list(s, chunk);
    float * w = vattn_sparse_weights(c, head, chunk);
    struct vattn_partial p = vattn_sparse_partial(c, chunk, head);
    vattn_partial_clear(p, group);
    read_keys(c, g, chunk, rows, prob, w);
    if (out->n_rows == 0) {
        return;
    }
    float * inverse = slot->spare + vattn_sparse_list(s, chunk);
    for (int32_t j = 0; j < out->n_rows; j++) {
        inverse[j] = (float)VATTN_PROB_ONE / (float)prob[j];
    }
    for (int32_t i = 0; i < group; i++) {
        weigh(c->plan->kern, p, i, w + (size_t)i * (size_t)s->ld, inverse, out->n_rows);
    }
    struct vattn_rows v = vattn_v_rows(c->in.kv, g);
    v.index = rows;
    v.n = out->n_rows;
    vattn_plan_accumulate(c->plan, &v, w, s->ld, group, p.n);
}
