/* SPDX-License-Identifier: MIT */
#include "rows.h"

#include "complain.h"
#include "half.h"

#include <string.h>

static const char * const names[VATTN_TYPE_COUNT] = {
    [VATTN_TYPE_F32] = "f32", [VATTN_TYPE_F16] = "f16", [VATTN_TYPE_BF16] = "bf16", [VATTN_TYPE_Q8_0] = "q8_0"};

enum vattn_type row_type_must_parse(const char * flag, const char * text) {
    for (int t = 0; t < VATTN_TYPE_COUNT; t++)
        if (strcmp(text, names[t]) == 0)
            return (enum vattn_type)t;
    give_up("%s: '%s' is not a type of rows; use f32, f16, bf16 or q8_0", flag, text);
}

const char * row_type_name(enum vattn_type type) {
    return names[type];
}

static uint16_t two_bytes(const unsigned char * at) {
    return (uint16_t)(at[0] | at[1] << 8);
}

double row_element(const void * row, enum vattn_type type, size_t i) {
    const unsigned char * bytes = row;
    if (type == VATTN_TYPE_F16)
        return (double)half_to_float(two_bytes(bytes + 2 * i));
    if (type == VATTN_TYPE_Q8_0) { /* 32 int8 behind a scale */
        const unsigned char * block = bytes + i / 32 * 34;
        return (double)half_to_float(two_bytes(block)) * (signed char)block[2 + i % 32];
    }
    const uint32_t bits = type == VATTN_TYPE_BF16 ? (uint32_t)two_bytes(bytes + 2 * i) << 16 : 0;
    float x;
    memcpy(&x, type == VATTN_TYPE_BF16 ? (const void *)&bits : (const void *)(bytes + 4 * i), sizeof x);
    return (double)x;
}
