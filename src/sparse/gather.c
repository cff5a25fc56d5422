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
    struct vattn_sparse * s = c->sparse;
    const struct vattn_options * o = &c->plan->opt;
    int64_t begin = vattn_sparse_chunk_begin(s, chunk), end = vattn_sparse_chunk_end(c, chunk);
    int32_t group = c->plan->group, blocks = (int32_t)((end - begin + VATTN_BLOCK - 1) / VATTN_BLOCK);
    struct vattn_random_key key = {{(uint32_t)o->seed, (uint32_t)(o->seed >> 32)},
                                   {(uint32_t)c->in.nonce, (uint32_t)(c->in.nonce >> 32)},
                                   vattn_random_stream(VATTN_RANDOM_SAMPLE, c->in.layer, g)};
    return c->plan->kern->select(s->scores + (size_t)(g * group) * (size_t)s->ld + (size_t)begin, s->ld,
                                 s->key_thresholds + g * group, group, begin, blocks, s->visible + begin / 16,
                                 s->sure + begin / 16, vattn_sparse_bonus(c, g, begin), FLOOR, &key, rows, prob, draw);
}

/* max over the group of s - t, for n rows */
static void best_margin(const float * scores, ptrdiff_t ld, const float * t, int32_t group, int32_t n, float * best) {
    for (int32_t j = 0; j < n; j++) {
        best[j] = scores[j] - t[0];
    }
    for (int32_t i = 1; i < group; i++) {
        const float * x = scores + (ptrdiff_t)i * ld;
        for (int32_t j = 0; j < n; j++) {
            float d = x[j] - t[i];
            best[j] = d > best[j] ? d : best[j];
        }
    }
}

/* Second stage: which of n rows stay.  keep: their positions, rows with pi < 1 first; returns both counts. */
static int32_t draw_values(const struct vattn_call * c, int32_t g, const int32_t * rows, int32_t * prob,
                           const int32_t * draw, float * margin, int32_t n, int32_t * keep, int32_t * n_tail) {
    const int8_t * bonus = vattn_sparse_bonus(c, g, 0);
    int32_t tail = 0, sure = 0;
    for (int32_t j = 0; j < n; j++) {
        if (draw[j] < 0) {
            continue;
        }
        float x = margin[j] + 0.125F * (float)bonus[rows[j]];
        int32_t p = vattn_sparse_prob(x), least = prob[j] >> KEEP_LEAST;
        p = p > least ? p : least;
        prob[j] = p < prob[j] ? p : prob[j];
        if (draw[j] < prob[j] && prob[j] < VATTN_PROB_ONE) {
            keep[tail++] = j;
        }
    }
    for (int32_t j = 0; j < n; j++) {
        if (draw[j] < 0 || prob[j] == VATTN_PROB_ONE) {
            keep[tail + sure++] = j;
        }
    }
    *n_tail = tail;
    return tail + sure;
}

static void compact_ints(int32_t * x, const int32_t * keep, int32_t n, int32_t * spare) {
    for (int32_t k = 0; k < n; k++) {
        spare[k] = x[keep[k]];
    }
    memcpy(x, spare, (size_t)n * sizeof *x);
}

/* Scores -> weights e/pi relative to the chunk's maximum; m and d of the partial. */
static void weigh(const struct vattn_kernels * kern, struct vattn_partial p, int32_t h, float * w, const int32_t * prob,
                  int32_t n) {
    float sum[8] = {0};
    p.m[h] = kern->max(w, n);
    (void)kern->exp2_sum(w, n, p.m[h]);
    for (int32_t j = 0; j < n; j++) {
        w[j] *= (float)VATTN_PROB_ONE / (float)prob[j];
        sum[j & 7] += w[j];
    }
    p.d[h] = ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

/* Keys: rows drawn by their proxies, exact scores, then the rows that stay, compact, with scores in place. */
static void read_keys(struct vattn_call * c, int32_t g, int32_t chunk, int32_t * rows, int32_t * prob, float * w) {
    struct vattn_sparse * s = c->sparse;
    struct vattn_chunk * out = vattn_sparse_chunk(s, g, chunk);
    int32_t group = c->plan->group;
    size_t at = vattn_sparse_list(s, g, chunk);
    int32_t *draw = s->draw + at, *keep = s->keep + at;
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
    float * margin = s->margin + at;
    best_margin(w, (ptrdiff_t)s->ld, s->thresholds + g * group, group, n, margin);
    out->n_rows = draw_values(c, g, rows, prob, draw, margin, n, keep, &out->n_tail);
    compact_ints(rows, keep, out->n_rows, draw);
    compact_ints(prob, keep, out->n_rows, draw);
    for (int32_t i = 0; i < group; i++) {
        float * x = w + (size_t)i * (size_t)s->ld;
        for (int32_t j = 0; j < out->n_rows; j++) {
            margin[j] = x[keep[j]];
        }
        memcpy(x, margin, (size_t)out->n_rows * sizeof *x);
    }
}

void vattn_sparse_gather(struct vattn_call * c, int32_t g, int32_t chunk) {
    struct vattn_sparse * s = c->sparse;
    struct vattn_chunk * out = vattn_sparse_chunk(s, g, chunk);
    int32_t group = c->plan->group, head = g * group;
    int32_t *rows = s->rows + vattn_sparse_list(s, g, chunk), *prob = s->prob + vattn_sparse_list(s, g, chunk);
    float * w = s->weights + (size_t)head * (size_t)s->ld + (size_t)vattn_sparse_chunk_begin(s, chunk);
    struct vattn_partial p = vattn_sparse_partial(c, chunk, head);
    vattn_partial_clear(p, group);
    read_keys(c, g, chunk, rows, prob, w);
    if (out->n_rows == 0) {
        return;
    }
    for (int32_t i = 0; i < group; i++) {
        weigh(c->plan->kern, p, i, w + (size_t)i * (size_t)s->ld, prob, out->n_rows);
    }
    struct vattn_rows v = vattn_v_rows(c->in.kv, g);
    v.index = rows;
    v.n = out->n_rows;
    vattn_plan_accumulate(c->plan, &v, w, s->ld, group, p.n);
}
