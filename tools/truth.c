/* SPDX-License-Identifier: MIT */
#include "truth.h"

#include "complain.h"

#include <math.h>
#include <stdlib.h>

static int falling(const void * a, const void * b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Reorders the weights. */
static double share_of_tail(double * weight, int64_t n, double sum) {
    double tail = 0;
    qsort(weight, (size_t)n, sizeof *weight, falling);
    for (int64_t i = n - 1; i >= n / 20; i--)
        tail += weight[i];
    return tail / sum;
}

static void attend_head(const struct capture * capture, int32_t step, int32_t head, const struct truth * truth) {
    const int64_t n = capture->n[step];
    const int32_t kv_head = head / (capture->n_heads / capture->n_kv_heads);
    const float * q = capture_query(capture, step) + (size_t)head * (size_t)capture->head_dim;
    double * out = truth->out + (size_t)head * (size_t)capture->v_dim;
    double * row = must_alloc((size_t)(capture->head_dim + capture->v_dim), sizeof *row);
    double * score = must_alloc((size_t)n, sizeof *score);
    double max = -INFINITY, sum = 0;

    for (int64_t i = 0; i < n; i++) {
        double dot = 0;
        capture_k_row(capture, kv_head, i, row);
        for (int32_t j = 0; j < capture->head_dim; j++)
            dot += (double)q[j] * row[j];
        score[i] = (double)capture->scale * dot;
        max = fmax(max, score[i]);
    }
    for (int32_t j = 0; j < capture->v_dim; j++)
        out[j] = 0;
    for (int64_t i = 0; i < n; i++) {
        const double weight = score[i] = exp(score[i] - max);
        sum += weight;
        capture_v_row(capture, kv_head, i, row);
        for (int32_t j = 0; j < capture->v_dim; j++)
            out[j] += weight * row[j];
    }
    for (int32_t j = 0; j < capture->v_dim; j++)
        out[j] /= sum;
    truth->log_d[head] = max + log(sum);
    truth->tail[head] = share_of_tail(score, n, sum);
    free(score);
    free(row);
}

struct truth truth_attend(const struct capture * capture, int32_t step, int threads) {
    const size_t heads = (size_t)capture->n_heads;
    const struct truth truth = {must_alloc(heads * (size_t)capture->v_dim, sizeof(double)),
                                must_alloc(heads, sizeof(double)), must_alloc(heads, sizeof(double))};
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int32_t head = 0; head < capture->n_heads; head++)
        attend_head(capture, step, head, &truth);
    (void)threads;
    return truth;
}

void truth_free(struct truth * truth) {
    free(truth->out);
    free(truth->log_d);
    free(truth->tail);
    *truth = (struct truth){0};
}

double truth_relative_error(const float * answer, double factor, const double * truth, int64_t length) {
    double error = 0, size = 0;
    for (int64_t i = 0; i < length; i++) {
        const double difference = factor * (double)answer[i] - truth[i];
        error += difference * difference;
        size += truth[i] * truth[i];
    }
    if (isnan(error))
        return INFINITY;
    if (size == 0)
        return error == 0 ? 0 : INFINITY;
    return sqrt(error / size);
}
