/* SPDX-License-Identifier: MIT
 *
 * IEEE 754 binary16 <-> binary32 in portable C: subnormals, infinities and NaN included, rounding to nearest even.
 */
#ifndef VATTN_HALF_H
#define VATTN_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t vattn_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float vattn_float_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float vattn_half_to_float(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = (uint32_t)(half >> 10) & 31u;
    const uint32_t mantissa = (uint32_t)half & 0x3ffu;
    if (exponent == 31) { /* a signalling NaN becomes quiet, as vcvtph2ps does it */
        return vattn_float_from_bits(sign | 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0));
    }
    if (exponent == 0) {
        const float magnitude = (float)mantissa * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return vattn_float_from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

static inline uint16_t vattn_half_from_float(float x) {
    const uint32_t bits = vattn_float_bits(x);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t half;
    if (magnitude > 0x7f800000u) { /* NaN: quiet, keep the top of the payload */
        half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    } else if (magnitude >= 0x477ff000u) { /* 65520 and above round to infinity */
        half = 0x7c00u;
    } else if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 rounds to a multiple of 2^-24 */
        half = vattn_float_bits(vattn_float_from_bits(magnitude) + 0.5f) - 0x3f000000u;
    } else {
        half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    }
    return (uint16_t)(sign | half);
}

#endif
