/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"

#include <assert.h>

#include "base/half.h"

enum { PART = 256 };

static void part_weights(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,
                         float floor, float * w) {
    for (int32_t j = 0; j < n; j++) {
        w[j] = -126;
    }
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t j = 0; j < n; j++) {
            const float above = score[g * ld + j] - threshold[g];
            w[j] = above > w[j] ? above : w[j];
        }
    }
    for (int32_t j = 0; j < n; j++) {
        const float x = w[j] > 0 ? 0 : w[j];
        const float likely = vattn_float_from_bits((uint32_t)(int32_t)(x * 0x1p23f + 127 * 0x1p23f));
        w[j] = 1 / (likely < floor ? floor : likely) - 1;
    }
}

void vattn_design_generic(const float * score, const float * weight, ptrdiff_t ld, const float * threshold,
                          int32_t n_heads, int32_t n, float floor, float * v, float * q) {
    assert(n % 8 == 0);
    for (int32_t g = 0; g < n_heads; g++) {
        v[g] = q[g] = 0;
    }
    for (int32_t at = 0; at < n; at += PART) {
        float w[PART];
        const int32_t m = n - at < PART ? n - at : PART;
        part_weights(score + at, ld, threshold, n_heads, m, floor, w);
        for (int32_t g = 0; g < n_heads; g++) {
            const float * z = weight + g * ld + at;
            float sum_v[8] = {0}, sum_q[8] = {0};
            for (int32_t j = 0; j < m; j++) {
                const float y = w[j] * z[j];
                sum_v[j & 7] += y;
                sum_q[j & 7] += w[j] * y * y;
            }
            v[g] += ((sum_v[0] + sum_v[4]) + (sum_v[1] + sum_v[5])) + ((sum_v[2] + sum_v[6]) + (sum_v[3] + sum_v[7]));
            q[g] += ((sum_q[0] + sum_q[4]) + (sum_q[1] + sum_q[5])) + ((sum_q[2] + sum_q[6]) + (sum_q[3] + sum_q[7]));
        }
    }
}
