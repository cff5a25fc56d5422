/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"

#include "kernels/generic/probability_generic.h"

int32_t vattn_thin_generic(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,
                           const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw, int32_t * keep,
                           int32_t * n_tail) {
    int32_t tail = 0, sure = 0;
    for (int32_t j = 0; j < n; j++) {
        if (draw[j] < 0) {
            continue;
        }
        float x = -126;
        for (int32_t g = 0; g < n_heads; g++) { /* a NaN is not larger */
            const float above = score[g * ld + j] - threshold[g];
            x = above > x ? above : x;
        }
        const int32_t p = vattn_probability(x + 0.125f * (float)bonus[j], prob[j] >> shift);
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
