/* SPDX-License-Identifier: MIT */
#include "second_moment.h"

#include "complain.h"

static void add_outer_product(const float * q, size_t d, float weight, float * into) {
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            into[i * d + j] += weight * q[i] * q[j];
}

float * second_moment_of_steps(const struct capture * capture, int32_t n_steps) {
    const size_t d = (size_t)capture->head_dim;
    const int32_t group = capture->n_heads / capture->n_kv_heads;
    const float weight = 1.0f / (float)(n_steps * group);
    float * moment = must_alloc((size_t)capture->n_kv_heads * d * d, sizeof *moment);
    for (int32_t step = 0; step < n_steps; step++)
        for (int32_t head = 0; head < capture->n_heads; head++)
            add_outer_product(capture_query(capture, step) + (size_t)head * d, d, weight,
                              moment + (size_t)(head / group) * d * d);
    return moment;
}
