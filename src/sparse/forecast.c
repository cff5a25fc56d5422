/* SPDX-License-Identifier: MIT
 *
 * FORECAST, part of DESIGN: what a head's denominator and output will be, before anything is drawn.
 *
 * The rows that are always read are read now (some dozens); the others are known by their proxy scores.  The design needs
 * ||o|| because the promise is relative to it: heads that spread over many rows have outputs far shorter than a value.
 */
#include "sparse/sparse.h"

#include <math.h>
#include <string.h>

#define LN2          0.6931472F
#define SURE_ROWS    256
#define OUTPUT_LEAST 0.05F /* of ||o||^2 / v_rms^2: values of rows that score alike are not that independent */

/* log2(2^a + 2^b) */
static float log2_add(float a, float b) {
    float m = fmaxf(a, b);
    return m == -INFINITY ? m : m + log2f(exp2f(a - m) + exp2f(b - m));
}

/* The rows that are read for sure: few, and read anyway. */
static int32_t list_sure(const struct vattn_sparse * s, int32_t list[SURE_ROWS]) {
    int32_t n = 0;
    for (int64_t b = 0; b < s->ld / 16 && n < SURE_ROWS; b++) {
        for (uint32_t bits = (uint32_t)(s->visible[b] & s->sure[b]); bits != 0 && n < SURE_ROWS; bits &= bits - 1) {
            list[n++] = (int32_t)(b * 16 + __builtin_ctz(bits));
        }
    }
    return n;
}

/* log2 of the sum of their weights, and their mean value. */
static void sum_sure(const struct vattn_call * c, int32_t g, float * log2_sum, float * mean) {
    int32_t list[SURE_ROWS], group = c->plan->group, v_dim = c->plan->opt.v_dim, n = list_sure(c->sparse, list);
    float score[16 * SURE_ROWS];
    struct vattn_rows k = vattn_k_rows(c->in.kv, g), v = vattn_v_rows(c->in.kv, g);
    k.index = v.index = list;
    k.n = v.n = n;
    memset(mean, 0, (size_t)group * (size_t)v_dim * sizeof *mean);
    for (int32_t i = 0; i < group; i += 16) {
        int32_t part = group - i < 16 ? group - i : 16;
        vattn_plan_score(c->plan, &k, vattn_call_q(c, g) + (size_t)i * (size_t)c->plan->opt.head_dim, part, score,
                         SURE_ROWS);
        for (int32_t h = 0; h < part; h++) {
            float * w = score + h * SURE_ROWS;
            float m = c->plan->kern->max(w, n), sum = c->plan->kern->exp2_sum(w, n, m);
            log2_sum[i + h] = n == 0 ? -INFINITY : m + log2f(sum);
            for (int32_t j = 0; j < n; j++) {
                w[j] /= sum;
            }
        }
        vattn_plan_accumulate(c->plan, &v, score, SURE_ROWS, part, mean + (size_t)i * (size_t)v_dim);
    }
}

/* log2 of the sum of weights and of squared weights of the other rows: subsample, never less than the largest score. */
static void sum_rest(const struct vattn_call * c, int32_t h, float * x, float * log2_sum, float * log2_squares) {
    const struct vattn_sparse * s = c->sparse;
    int32_t g = h / c->plan->group, n = s->sample_n[g];
    float m = c->plan->kern->max(x, n), top = -INFINITY, squares = 0.0F;
    *log2_sum = *log2_squares = -INFINITY;
    if (n > 0) {
        *log2_sum = m + log2f(c->plan->kern->exp2_sum(x, n, m) * s->sample_scale[g]);
        for (int32_t j = 0; j < n; j++) { /* x holds weights now */
            squares += x[j] * x[j];
        }
        *log2_squares = 2.0F * m + log2f(squares * s->sample_scale[g]);
    }
    for (int32_t k = 0; k < s->n_chunks; k++) {
        top = fmaxf(top, s->chunk_max[(size_t)h * (size_t)s->n_chunks + (size_t)k]);
    }
    *log2_sum = fmaxf(*log2_sum, top);
    *log2_squares = fmaxf(*log2_squares, 2.0F * top);
}

/*
 * ||o||^2 in units of v_rms^2, as if values had nothing to do with scores: the rows read for sure have the mean `sure`
 * and the share p of the weight, the others the mean value c and the variance v_rms^2 sum weight^2.
 */
static float expect_output(const struct vattn_call * c, int32_t h, const float * sure, float p, float squares) {
    const struct vattn_code_book * book = &c->in.index->books[h / c->plan->group];
    float sum = 0.0F;
    for (int32_t i = 0; i < c->plan->opt.v_dim; i++) {
        float o = p * sure[i] + (1.0F - p) * book->v_mean[i];
        sum += o * o;
    }
    return fmaxf(sum / (book->v_rms * book->v_rms), OUTPUT_LEAST) + fminf(squares, 1.0F);
}

void vattn_sparse_forecast(struct vattn_call * c, int32_t g, float * plain) {
    struct vattn_sparse * s = c->sparse;
    size_t v_dim = (size_t)c->plan->opt.v_dim;
    int32_t first = g * c->plan->group;
    float * mean = s->estimates + (size_t)first * v_dim; /* free until JUDGE */
    sum_sure(c, g, s->sure_sum + first, mean);
    for (int32_t i = 0; i < c->plan->group; i++) {
        struct vattn_head * head = &s->heads[first + i];
        float rest, squares, spread = LN2 * head->sigma * head->sigma; /* log2 E 2^error is half of it */
        sum_rest(c, first + i, plain + (size_t)i * (size_t)s->sample_ld, &rest, &squares);
        head->log2_sum = log2_add(s->sure_sum[first + i], rest + 0.5F * spread);
        float share = exp2f(s->sure_sum[first + i] - head->log2_sum);
        head->output2 = expect_output(c, first + i, mean + (size_t)i * v_dim, share,
                                      exp2f(squares + spread - 2.0F * head->log2_sum));
    }
}
