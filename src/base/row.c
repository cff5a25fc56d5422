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

/*
 * As ggml's code for AVX2 does it: integers by the unrounded scale, to nearest even (by adding 1.5 * 2^23, which leaves them in
 * the last bits).  What is not finite has no integers; a scale that is NaN says so.  Plain loops, which compilers turn
 * into vectors: floats of one sign are ordered like their bits.
 */
static void write_block(const float * x, char * block) {
    uint32_t bits[VATTN_Q8_ELEMENTS], most = 0;
    memcpy(bits, x, sizeof bits);
    for (int32_t i = 0; i < VATTN_Q8_ELEMENTS; i++) {
        const uint32_t size = bits[i] & 0x7fffffffu;
        most = size > most ? size : most;
    }
    const float largest = vattn_float_from_bits(most), scale = most < 0x7f800000u ? largest / 127.0F : NAN;
    const uint16_t half = vattn_half_from_float(scale);
    const float inverse = scale >= 0x1p-100F ? 127.0F / largest : 0.0F; /* smaller ones are 0 in f16 */
    int8_t value[VATTN_Q8_ELEMENTS];
    for (int32_t i = 0; i < VATTN_Q8_ELEMENTS; i++) {
        const float product = isfinite(scale) ? x[i] * inverse : 0.0F;
        value[i] = (int8_t)(int32_t)(vattn_float_bits(product + 0x1.8p23F) - 0x4b400000u);
    }
    memcpy(block, &half, sizeof half);
    memcpy(block + 2, value, sizeof value);
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
