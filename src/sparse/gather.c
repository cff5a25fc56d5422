/* SPDX-License-Identifier: MIT
 *
 * GATHER: draw the rows of one chunk of one KV head and read them: exact scores, weights 1/pi, numerator, denominator.
 *
 * One random number u per row decides in two stages.  The key is read iff u < pi1, which the proxies give; the exact
 * scores then lower the probability, and the value is read, and the row used, iff u < pi:
 *
 *     pi1 = clamp(2^(max_h(P_h - tk_h)), floor, 1)           P_h = proxy score + value bonus
 *     pi  = min(pi1, max(pi1 / 16, 2^(max_h(s_h + b - t_h))))          s_h = exact score
 *
 * pi is a function of q, K and the thresholds alone, so the rows used are a Poisson sample with probabilities pi: what
 * the two stages save is values that the exact score shows to be unimportant.
 * Keys that were read are not wasted: all of them make up the denominator, and where the value is not read the mean mu of its
 * kind stands for it,
 *
 *     N = sum_keys e/pi1 mu + sum_rows e/pi (v - mu)         D = sum_keys e/pi1
 *
 * so that a value is needed only for what is particular about it; b is log2 |v - mu|, P has log2 |v - c|.
 * All heads of the group use every row with the group's pi.  The probability of a row that had been read at an earlier
 * look is the new one: draws are nested (same u), so the sample is one of the new design.
 */
#include "sparse/sparse.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "base/sums.h"

#define FLOOR     (VATTN_PROB_ONE >> 10)
#define KEEP_LEAST 4 /* pi >= pi1 / 2^4 */
#define TOGETHER   VATTN_SPARSE_TOGETHER

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

static void compact(int32_t * x, const int32_t * keep, int32_t n, int32_t * spare) {
    for (int32_t k = 0; k < n; k++) {
        spare[k] = x[keep[k]];
    }
    memcpy(x, spare, (size_t)n * sizeof *x);
}

/* Keys: rows drawn by their proxies, exact scores, and which rows stay: out->n_rows positions in keep. */
static void read_keys(struct vattn_call * c, int32_t g, int32_t chunk, int32_t * rows, int32_t * prob, float * w) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    struct vattn_chunk * out = vattn_sparse_chunk(s, g, chunk);
    int32_t group = c->plan->group;
    size_t at = vattn_sparse_list(s, chunk);
    int32_t n = draw_keys(c, g, chunk, rows, prob, slot->draw + at);
    struct vattn_rows k = vattn_k_rows(c->in.kv, g);
    k.index = rows;
    k.n = n;
    out->n_keys = n;
    out->n_rows = out->n_tail = 0;
    if (n == 0) {
        return;
    }
    vattn_plan_score(c->plan, &k, vattn_call_q(c, g), group, w, s->ld);
    vattn_sparse_look_up(c, g, rows, n, slot->list_bonus + at, slot->kind + at);
    for (int32_t j = 0; j < n; j++) {
        slot->inverse[at + (size_t)j] = (float)VATTN_PROB_ONE / (float)prob[j];
    }
    memcpy(slot->key_prob + at, prob, (size_t)n * sizeof *prob);
    out->n_rows = c->plan->kern->thin(w, (ptrdiff_t)s->ld, s->thresholds + g * group, group, n, slot->list_bonus + at,
                                      KEEP_LEAST, prob, slot->draw + at, slot->keep + at, &out->n_tail);
}

/* w: weights e -> e/pi1; their sum, and the sum of (1 - pi1) (e/pi1)^2 = e/pi1 (e/pi1 - e). */
static float weigh_keys(float * w, const float * inverse, int32_t n, float * squares) {
    vattn_four sum[2] = {{0}, {0}}, square[2] = {{0}, {0}};
    int32_t j = 0;
    for (; j + 8 <= n; j += 8) {
        for (int32_t k = 0; k < 2; k++) {
            const vattn_four e = vattn_load4(w + j + 4 * k), x = e * vattn_load4(inverse + j + 4 * k);
            vattn_store4(w + j + 4 * k, x);
            sum[k] += x;
            square[k] += x * (x - e);
        }
    }
    for (; j < n; j++) {
        const float e = w[j];
        w[j] = e * inverse[j];
        sum[j % 8 / 4][j % 4] += w[j];
        square[j % 8 / 4][j % 4] += w[j] * (w[j] - e);
    }
    *squares = vattn_sum_lanes(square[0], square[1]);
    return vattn_sum_lanes(sum[0], sum[1]);
}

/*
 * Scores of the keys of one head -> m and d of the partial, and weights: of rows whose value is read e/pi, compact, in `own`; of
 * keys e/pi1, less e/pi where the value itself is read, in w.
 */
static void weigh(struct vattn_call * c, int32_t g, int32_t chunk, struct vattn_partial p, int32_t i, float * w,
                  const float * gain, float * own) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    const struct vattn_chunk * list = vattn_sparse_chunk(s, g, chunk);
    size_t at = vattn_sparse_list(s, chunk);
    const int32_t * keep = slot->keep + at;
    p.m[i] = c->plan->kern->max(w, list->n_keys);
    (void)c->plan->kern->exp2_sum(w, list->n_keys, p.m[i]);
    p.d[i] = weigh_keys(w, slot->inverse + at, list->n_keys,
                        &slot->key_squares[(size_t)i * (size_t)s->n_chunks + (size_t)chunk]);
    for (int32_t k = 0; k < list->n_rows; k++) {
        float whole = w[keep[k]];
        own[k] = whole * gain[k];
        w[keep[k]] = whole - own[k];
    }
}

/* Weights of all heads, and of the means of the kinds; heads by fours, so that one pass tallies four. */
static void weigh_heads(struct vattn_call * c, int32_t g, int32_t chunk, struct vattn_partial p, float * w, const float * gain) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    const struct vattn_chunk * list = vattn_sparse_chunk(s, g, chunk);
    const size_t at = vattn_sparse_list(s, chunk), room = (size_t)s->chunk + 64, rows = (size_t)list->n_rows;
    float *own = slot->spare + TOGETHER * at, *stand_in = vattn_sparse_stand_in(c, g, chunk);
    memset(stand_in, 0, (size_t)(vattn_sparse_columns(c) * vattn_sparse_kinds(c, g)) * sizeof *stand_in);
    for (int32_t first = 0; first < c->plan->group; first += TOGETHER) {
        const int32_t left = c->plan->group - first, n = left < TOGETHER ? left : TOGETHER;
        float * part = w + (size_t)first * (size_t)s->ld;
        for (int32_t i = 0; i < n; i++) {
            weigh(c, g, chunk, p, first + i, part + (size_t)i * (size_t)s->ld, gain, own + (size_t)i * room);
        }
        vattn_sparse_tally(part, (ptrdiff_t)s->ld, slot->kind + at, n, list->n_keys, vattn_sparse_columns(c), stand_in + first);
        for (int32_t i = 0; i < n; i++) {
            memcpy(part + (size_t)i * (size_t)s->ld, own + (size_t)i * room, rows * sizeof *own);
        }
    }
}

/* What JUDGE needs to know of the rows drawn by chance, the same for all heads. */
static void measure_rows(struct vattn_call * c, int32_t g, int32_t chunk, const float * gain) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    size_t at = vattn_sparse_list(s, chunk);
    const int32_t *rows = slot->rows + at, *prob = slot->prob + at, n = vattn_sparse_chunk(s, g, chunk)->n_tail;
    float *key2 = slot->key2 + at, *off2 = slot->off2 + at, *of_value = slot->spare + TOGETHER * at;
    struct vattn_rows values = vattn_v_rows(c->in.kv, g), means = vattn_sparse_means(c, g);
    for (int32_t k = 0; k < n; k++) {
        float pi = (float)prob[k] * (1.0F / VATTN_PROB_ONE), share = 1.0F / gain[k];
        key2[k] = share > pi ? share - pi : 0.0F; /* fmaxf is a call */
        of_value[k] = 1.0F - share;
    }
    values.index = rows;
    means.index = slot->kind + at;
    values.n = means.n = n;
    vattn_plan_offset(c->plan, &values, &means, off2, NULL);
    for (int32_t k = 0; k < n; k++) {
        off2[k] *= of_value[k];
    }
}

void vattn_sparse_gather(struct vattn_call * c, int32_t g, int32_t chunk) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    struct vattn_chunk * out = vattn_sparse_chunk(s, g, chunk);
    int32_t group = c->plan->group, head = g * group;
    size_t at = vattn_sparse_list(s, chunk);
    int32_t *rows = slot->rows + at, *prob = slot->prob + at, *keep = slot->keep + at, *spare = slot->draw + at;
    float * w = vattn_sparse_weights(c, head, chunk);
    struct vattn_partial p = vattn_sparse_partial(c, chunk, head);
    vattn_partial_clear(p, group);
    read_keys(c, g, chunk, rows, prob, w);
    if (out->n_keys == 0) {
        return;
    }
    float * gain = slot->off2 + at; /* pi1/pi, until the distances are measured */
    for (int32_t k = 0; k < out->n_rows; k++) {
        gain[k] = (float)slot->key_prob[at + (size_t)keep[k]] / (float)prob[keep[k]];
    }
    weigh_heads(c, g, chunk, p, w, gain);
    compact(rows, keep, out->n_rows, spare);
    compact(prob, keep, out->n_rows, spare);
    compact(slot->kind + at, keep, out->n_tail, spare);
    measure_rows(c, g, chunk, gain);
    struct vattn_rows v = vattn_v_rows(c->in.kv, g);
    v.index = rows;
    v.n = out->n_rows;
    vattn_plan_accumulate(c->plan, &v, w, s->ld, group, p.n);
}
