/* SPDX-License-Identifier: MIT
 *
 * Rows of keys and values in the types of caches.
 */
#ifndef VATTN_ROW_H
#define VATTN_ROW_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/half.h"
#include "vattn.h"

/* A block of q8_0: a scale in f16, then 32 int8.  Blocks are aligned to 2 bytes at best. */
enum { VATTN_Q8_ELEMENTS = 32, VATTN_Q8_BYTES = 34 };

/* Bytes of dim elements, which is also where element dim begins.  With q8_0 dim is a multiple of 32. */
static inline size_t vattn_row_size(enum vattn_type type, int32_t dim) {
    const size_t n = (size_t)(uint32_t)dim;
    return type == VATTN_TYPE_F32 ? 4 * n : type == VATTN_TYPE_Q8_0 ? n / VATTN_Q8_ELEMENTS * VATTN_Q8_BYTES : 2 * n;
}

static inline uint16_t vattn_load_u16(const char * at) {
    uint16_t x;
    memcpy(&x, at, sizeof x);
    return x;
}

/* Element d of a row, exactly: int8 times f16 has 18 bits. */
static inline float vattn_row_element(enum vattn_type type, const char * row, int32_t d) {
    const size_t i = (size_t)d;
    float x;
    switch (type) {
    case VATTN_TYPE_F16:
        return vattn_half_to_float(vattn_load_u16(row + 2 * i));
    case VATTN_TYPE_BF16:
        return vattn_float_from_bits((uint32_t)vattn_load_u16(row + 2 * i) << 16);
    case VATTN_TYPE_Q8_0: {
        const char * block = row + i / VATTN_Q8_ELEMENTS * VATTN_Q8_BYTES;
        const int8_t value = (int8_t)block[2 + i % VATTN_Q8_ELEMENTS];
        return vattn_half_to_float(vattn_load_u16(block)) * (float)value;
    }
    case VATTN_TYPE_F32:
        break;
    }
    memcpy(&x, row + 4 * i, sizeof x);
    return x;
}

#endif
