/* SPDX-License-Identifier: MIT
 *
 * What the processor has, what the operating system saves, and what is worth using.
 */
#ifndef VATTN_CPU_FEATURES_H
#define VATTN_CPU_FEATURES_H

#include <stdbool.h>

struct vattn_cpu_features {
    bool avx2;              /* AVX2, FMA, F16C, BMI1, BMI2; the system saves ymm */
    bool avxvnni;           /* vpdpbusd on ymm without AVX-512, and all of avx2 */
    bool avx512;            /* AVX-512 F, BW, VL, DQ and VNNI; the system saves zmm and the masks */
    bool avx512_worthwhile; /* 512-bit vectors do not cost so much clock that AVX2 wins */
    bool neon;              /* AArch64, little-endian: Advanced SIMD with conversions from f16 is part of it */
    bool dotprod;           /* SDOT and UDOT */
};

struct vattn_cpu_features vattn_cpu_features_detect(void);

#endif
