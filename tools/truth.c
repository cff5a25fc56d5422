/* SPDX-License-Identifier: MIT */
#include "truth.h"

#include "complain.h"

#include <math.h>
#include <stdlib.h>

static void attend_head(const struct capture * capture, int32_t step, int32_t head, double * out) {
    const int64_t n = capture->n[step];
    const int32_t kv_head = head / (capture->n_heads / capture->n_kv_heads);
    const float * q = capture_query(capture, step) + (size_t)head * (size_t)capture->head_dim;
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
        const double weight = exp(score[i] - max);
        sum += weight;
        capture_v_row(capture, kv_head, i, row);
        for (int32_t j = 0; j < capture->v_dim; j++)
            out[j] += weight * row[j];
    }
    for (int32_t j = 0; j < capture->v_dim; j++)
        out[j] /= sum;
    free(score);
    free(row);
}

void truth_attend(const struct capture * capture, int32_t step, int threads, double * out) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int32_t head = 0; head < capture->n_heads; head++)
        attend_head(capture, step, head, out + (size_t)head * (size_t)capture->v_dim);
    (void)threads;
}

double truth_relative_error(const float * answer, const double * truth, int64_t length) {
    double error = 0, size = 0;
    for (int64_t i = 0; i < length; i++) {
        const double difference = (double)answer[i] - truth[i];
        error += difference * difference;
        size += truth[i] * truth[i];
    }
    if (isnan(error))
        return INFINITY;
    if (size == 0)
        return error == 0 ? 0 : INFINITY;
    return sqrt(error / size);
}
