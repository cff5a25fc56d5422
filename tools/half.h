/* SPDX-License-Identifier: MIT
 * IEEE binary16, converted by the definition.  The tools use it for truth and for synthetic data, where clarity counts. */
#ifndef VATTN_TOOLS_HALF_H
#define VATTN_TOOLS_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float half_to_float(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = (half >> 10) & 31u;
    const uint32_t mantissa = half & 1023u;
    uint32_t bits;
    float value;
    if (exponent == 0) { /* zero and subnormal: mantissa * 2^-24 */
        value = (float)mantissa * 0x1p-24f;
        return sign ? -value : value;
    }
    bits = sign | (exponent == 31 ? 255u << 23 : (exponent + 112u) << 23) | mantissa << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Round to nearest even; overflow becomes infinity. */
static inline uint16_t half_from_float(float value) {
    const uint16_t sign = signbit(value) ? 0x8000u : 0;
    const float size = fabsf(value);
    uint32_t bits;
    if (isnan(value))
        return 0x7e00u;
    if (size >= 65520.0f)
        return (uint16_t)(sign | 0x7c00u);
    if (size < 0x1p-14f)
        return (uint16_t)(sign | (uint16_t)lrintf(size * 0x1p24f));
    memcpy(&bits, &size, sizeof bits);
    bits += 0xfffu + ((bits >> 13) & 1u);
    return (uint16_t)(sign | (uint16_t)((bits >> 13) - (112u << 10)));
}

#endif
