/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"

#include "kernels/generic/probability_generic.h"

int32_t vattn_thin_generic(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,
                           const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw, int32_t * keep,
                           int32_t * n_tail) {
    int32_t tail = 0, sure = 0;
    for (int32_t j = 0; j < n; j++) {
        if (vattn_thin_one(score + j, ld, threshold, n_heads, bonus[j], shift, prob + j, draw[j])) {
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
