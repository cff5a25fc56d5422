/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"

#include <math.h>

#include "base/half.h"
#include "kernels/exp2_poly.h"

enum { LANES = 8 };

float vattn_max_generic(const float * x, int32_t n) {
    float largest = -INFINITY;
    for (int32_t j = 0; j < n; j++) {
        largest = x[j] > largest ? x[j] : largest;
    }
    return largest;
}

/* 2^y = 2^round(y) * 2^f; the power of two is added to the exponent bits. */
static float exp2_one(float x, float m) {
    float y = x - m;
    if (x == -INFINITY || y < -126) {
        return 0;
    }
    y = y > 128 ? 128 : y;
    const float magic = 0x1.8p23f; /* adding it rounds to an integer, which then stands in the low bits */
    const float shifted = y + magic;
    const float f = y - (shifted - magic);
    float p = VATTN_EXP2_C6;
    p = p * f + VATTN_EXP2_C5;
    p = p * f + VATTN_EXP2_C4;
    p = p * f + VATTN_EXP2_C3;
    p = p * f + VATTN_EXP2_C2;
    p = p * f + VATTN_EXP2_C1;
    p = p * f + 1;
    return p != p ? p : vattn_float_from_bits(vattn_float_bits(p) + (vattn_float_bits(shifted) << 23));
}

float vattn_exp2_sum_generic(float * x, int32_t n, float m) {
    float sum[LANES] = {0};
    for (int32_t j = 0; j < n; j++) {
        x[j] = exp2_one(x[j], m);
        sum[j % LANES] += x[j];
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}
