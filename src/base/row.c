/* SPDX-License-Identifier: MIT */
#include "base/row.h"

#include <math.h>

size_t vattn_row_bytes(enum vattn_type type, int32_t n) {
    if (n < 1 || (unsigned)type >= VATTN_TYPE_COUNT || (type == VATTN_TYPE_Q8_0 && n % VATTN_Q8_ELEMENTS != 0)) {
        return 0;
    }
    return vattn_row_size(type, n);
}

void vattn_row_read(enum vattn_type type, const void * row, int32_t n, float * x) {
    for (int32_t d = 0; d < n; d++) {
        x[d] = vattn_row_element(type, row, d);
    }
}

/* To nearest even; a NaN stays one, and quiet. */
static uint16_t bf16_from_float(float x) {
    const uint32_t bits = vattn_float_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* ggml's reference: the scale is rounded to f16 after the integers were found with the unrounded one.  What is not finite
 * has no integers; a scale that is NaN says so. */
static void write_block(const float * x, char * block) {
    float most = 0.0F;
    bool finite = true;
    for (int32_t i = 0; i < VATTN_Q8_ELEMENTS; i++) {
        most = fmaxf(most, fabsf(x[i]));
        finite = finite && isfinite(x[i]);
    }
    const float scale = finite ? most / 127.0F : NAN, inverse = scale >= 0x1p-126F ? 1.0F / scale : 0.0F;
    const uint16_t half = vattn_half_from_float(scale);
    memcpy(block, &half, sizeof half);
    for (int32_t i = 0; i < VATTN_Q8_ELEMENTS; i++) {
        block[2 + i] = (char)(int8_t)(finite ? roundf(x[i] * inverse) : 0.0F);
    }
}

void vattn_row_write(enum vattn_type type, const float * x, int32_t n, void * row) {
    char * at = row;
    if (type == VATTN_TYPE_F32) {
        memcpy(row, x, (size_t)n * sizeof *x);
    } else if (type == VATTN_TYPE_Q8_0) {
        for (int32_t d = 0; d + VATTN_Q8_ELEMENTS <= n; d += VATTN_Q8_ELEMENTS) {
            write_block(x + d, at + vattn_row_size(type, d));
        }
    } else {
        for (int32_t d = 0; d < n; d++) {
            const uint16_t bits = type == VATTN_TYPE_F16 ? vattn_half_from_float(x[d]) : bf16_from_float(x[d]);
            memcpy(at + 2 * (size_t)d, &bits, sizeof bits);
        }
    }
}
