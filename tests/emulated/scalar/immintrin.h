/* SPDX-License-Identifier: MIT
 *
 * The intrinsics of AVX-512 and AVX-VNNI that our kernels use, one lane after the other, written from Intel's manual (volume 2).
 * tests/CMakeLists.txt compiles src/kernels/x86/x_avx512.c and scan_avxvnni.c against this file instead of the compiler's, so that
 * their lane logic and their masks run on any machine: a masked load touches only its lanes, and guard pages tell.
 * What this cannot show is that the manual was read correctly; only a machine that has them can.
 */
#ifndef SCALAR_IMMINTRIN_H
#define SCALAR_IMMINTRIN_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/half.h"

typedef struct {
    float f[16];
} __m512;
typedef struct {
    double d[8];
} __m512d;
typedef union {
    int32_t i[16];
    uint32_t u[16];
    uint64_t q[8];
    uint16_t w[32];
    uint8_t b[64];
    int8_t s[64];
} __m512i;
typedef union {
    int32_t i[8];
    uint32_t u[8];
    uint16_t w[16];
    uint8_t b[32];
    int8_t s[32];
} __m256i;
typedef struct {
    float f[8];
} __m256;
typedef struct {
    int8_t s[16];
} __m128i;
typedef struct {
    float f[4];
} __m128;
typedef uint8_t __mmask8;
typedef uint16_t __mmask16;

#define _MM_HINT_T0           3
#define _MM_HINT_T1           2
#define _CMP_LT_OQ            0x11
#define _CMP_EQ_OQ            0x00
#define _mm_prefetch(at, how) ((void)(at), (void)(how))

#define LANES(n) for (int lane = 0; lane < (n); lane++)

/* ------------------------------------------------------------------------------------------ moves and conversions */

#define SCALAR static inline

SCALAR __m512 _mm512_set1_ps(float x) {
    __m512 r;
    LANES(16) r.f[lane] = x;
    return r;
}

SCALAR __m512 _mm512_setzero_ps(void) {
    return _mm512_set1_ps(0);
}

SCALAR __m512i _mm512_set1_epi32(int32_t x) {
    __m512i r;
    LANES(16) r.i[lane] = x;
    return r;
}

SCALAR __m512i _mm512_setzero_si512(void) {
    return _mm512_set1_epi32(0);
}

SCALAR __m512i _mm512_set1_epi8(char x) {
    __m512i r;
    LANES(64) r.b[lane] = (uint8_t)x;
    return r;
}

SCALAR __m512i _mm512_set1_epi64(int64_t x) {
    __m512i r;
    LANES(8) r.q[lane] = (uint64_t)x;
    return r;
}

SCALAR __m512i _mm512_setr_epi64(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f, int64_t g,
                                 int64_t h) {
    const int64_t all[8] = {a, b, c, d, e, f, g, h};
    __m512i r;
    memcpy(&r, all, sizeof r);
    return r;
}

SCALAR __m512i _mm512_setr_epi32(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l,
                                 int m, int n, int o, int p) {
    const int32_t all[16] = {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};
    __m512i r;
    memcpy(&r, all, sizeof r);
    return r;
}

SCALAR __m512 _mm512_loadu_ps(const void * at) {
    __m512 r;
    memcpy(&r, at, sizeof r);
    return r;
}

SCALAR __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const void * at) {
    __m512 r = _mm512_setzero_ps();
    LANES(16) if (mask >> lane & 1) {
        memcpy(&r.f[lane], (const char *)at + 4 * lane, 4);
    }
    return r;
}

SCALAR void _mm512_storeu_ps(void * at, __m512 x) {
    memcpy(at, &x, sizeof x);
}

SCALAR void _mm512_mask_storeu_ps(void * at, __mmask16 mask, __m512 x) {
    LANES(16) if (mask >> lane & 1) {
        memcpy((char *)at + 4 * lane, &x.f[lane], 4);
    }
}

SCALAR __m512i _mm512_loadu_si512(const void * at) {
    __m512i r;
    memcpy(&r, at, sizeof r);
    return r;
}

SCALAR void _mm512_storeu_si512(void * at, __m512i x) {
    memcpy(at, &x, sizeof x);
}

SCALAR __m256i _mm256_loadu_si256(const __m256i * at) {
    __m256i r;
    memcpy(&r, at, sizeof r);
    return r;
}

SCALAR __m256i _mm256_maskz_loadu_epi16(__mmask16 mask, const void * at) {
    __m256i r;
    memset(&r, 0, sizeof r);
    LANES(16) if (mask >> lane & 1) {
        memcpy(&r.w[lane], (const char *)at + 2 * lane, 2);
    }
    return r;
}

SCALAR __m128i _mm_loadu_si128(const __m128i * at) {
    __m128i r;
    memcpy(&r, at, sizeof r);
    return r;
}

SCALAR __m128 _mm_loadu_ps(const float * at) {
    __m128 r;
    memcpy(&r, at, sizeof r);
    return r;
}

SCALAR void _mm_storeu_ps(float * at, __m128 x) {
    memcpy(at, x.f, sizeof x.f);
}

SCALAR void _mm_store_ss(float * at, __m128 x) {
    memcpy(at, x.f, sizeof x.f[0]);
}

SCALAR __m512 _mm512_cvtph_ps(__m256i x) {
    __m512 r;
    LANES(16) r.f[lane] = vattn_half_to_float(x.w[lane]);
    return r;
}

SCALAR __m256i _mm256_set1_epi16(short x) {
    __m256i r;
    LANES(16) r.w[lane] = (uint16_t)x;
    return r;
}

SCALAR __m512i _mm512_cvtepu16_epi32(__m256i x) {
    __m512i r;
    LANES(16) r.u[lane] = x.w[lane];
    return r;
}

SCALAR __m512i _mm512_slli_epi32(__m512i x, unsigned count) {
    __m512i r;
    LANES(16) r.u[lane] = count < 32 ? x.u[lane] << count : 0;
    return r;
}

SCALAR __m512 _mm512_cvtepi32_ps(__m512i x) {
    __m512 r;
    LANES(16) r.f[lane] = (float)x.i[lane];
    return r;
}

SCALAR __m512i _mm512_cvttps_epi32(__m512 x) {
    __m512i r;
    LANES(16) {
        const float f = x.f[lane]; /* out of range, NaN: the integer indefinite */
        r.i[lane] = f >= -2147483648.0f && f < 2147483648.0f ? (int32_t)f : INT32_MIN;
    }
    return r;
}

SCALAR __m512i _mm512_cvtepi8_epi32(__m128i x) {
    __m512i r;
    LANES(16) r.i[lane] = x.s[lane];
    return r;
}

#define CAST(name, to, from)                                                                                           \
    SCALAR to name(from x) {                                                                                           \
        to r;                                                                                                          \
        memcpy(&r, &x, sizeof r);                                                                                      \
        return r;                                                                                                      \
    }
CAST(_mm512_castsi512_ps, __m512, __m512i)
CAST(_mm512_castps_pd, __m512d, __m512)
CAST(_mm512_castpd_ps, __m512, __m512d)
CAST(_mm512_castps512_ps128, __m128, __m512)

SCALAR __m128 _mm512_extractf32x4_ps(__m512 x, int which) {
    __m128 r;
    memcpy(&r, &x.f[4 * which], sizeof r);
    return r;
}

/* ------------------------------------------------------------------------------------------------ arithmetic, float */

#define FLOAT_OP(name, value)                                                                                          \
    SCALAR __m512 _mm512_##name##_ps(__m512 a, __m512 b) {                                                             \
        __m512 r;                                                                                                      \
        LANES(16) {                                                                                                    \
            const float x = a.f[lane], y = b.f[lane];                                                                  \
            r.f[lane] = (value);                                                                                       \
        }                                                                                                              \
        return r;                                                                                                      \
    }
FLOAT_OP(add, x + y)
FLOAT_OP(sub, x - y)
FLOAT_OP(mul, x * y)
FLOAT_OP(div, x / y)
FLOAT_OP(max, x > y ? x : y) /* the second where either is a NaN */
FLOAT_OP(min, x < y ? x : y)

SCALAR __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
    __m512 r;
    LANES(16) r.f[lane] = fmaf(a.f[lane], b.f[lane], c.f[lane]);
    return r;
}

SCALAR __m512 scalar_mask_mov(__m512 from, __mmask16 mask, __m512 x) {
    LANES(16) x.f[lane] = mask >> lane & 1 ? x.f[lane] : from.f[lane];
    return x;
}

SCALAR __m512 _mm512_mask_max_ps(__m512 from, __mmask16 mask, __m512 a, __m512 b) {
    return scalar_mask_mov(from, mask, _mm512_max_ps(a, b));
}

SCALAR __m512 _mm512_mask_add_ps(__m512 from, __mmask16 mask, __m512 a, __m512 b) {
    return scalar_mask_mov(from, mask, _mm512_add_ps(a, b));
}

SCALAR __m512 _mm512_maskz_sub_ps(__mmask16 mask, __m512 a, __m512 b) {
    return scalar_mask_mov(_mm512_setzero_ps(), mask, _mm512_sub_ps(a, b));
}

SCALAR __m512 _mm512_maskz_scalef_ps(__mmask16 mask, __m512 a, __m512 b) {
    LANES(16) {
        const float power = floorf(b.f[lane]) > 300 ? 300 : floorf(b.f[lane]) < -300 ? -300 : floorf(b.f[lane]);
        a.f[lane] = mask >> lane & 1 ? (power != power ? b.f[lane] : ldexpf(a.f[lane], (int)power)) : 0;
    }
    return a;
}

SCALAR __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int predicate) {
    unsigned r = 0;
    LANES(16) r |= (unsigned)(predicate == _CMP_LT_OQ ? a.f[lane] < b.f[lane] : a.f[lane] == b.f[lane]) << lane;
    return (__mmask16)r;
}

SCALAR float _mm512_reduce_add_ps(__m512 x) {
    for (int half = 8; half > 0; half /= 2) {
        LANES(half) x.f[lane] += x.f[lane + half];
    }
    return x.f[0];
}

SCALAR float _mm512_reduce_max_ps(__m512 x) {
    LANES(16) x.f[0] = x.f[lane] > x.f[0] ? x.f[lane] : x.f[0];
    return x.f[0];
}

/* ------------------------------------------------------------------------------------------------------- shuffles */

/* Within every 128-bit lane: elements of a and b alternate, from element `first` on. */
SCALAR __m512 scalar_unpack_ps(__m512 a, __m512 b, int first) {
    __m512 r;
    for (int k = 0; k < 16; k += 4) {
        r.f[k] = a.f[k + first];
        r.f[k + 1] = b.f[k + first];
        r.f[k + 2] = a.f[k + first + 1];
        r.f[k + 3] = b.f[k + first + 1];
    }
    return r;
}

SCALAR __m512 _mm512_unpacklo_ps(__m512 a, __m512 b) {
    return scalar_unpack_ps(a, b, 0);
}

SCALAR __m512 _mm512_unpackhi_ps(__m512 a, __m512 b) {
    return scalar_unpack_ps(a, b, 2);
}

#define UNPACK64(name, type, member, first)                                                                            \
    SCALAR type name(type a, type b) {                                                                                 \
        type r;                                                                                                        \
        for (int k = 0; k < 8; k += 2) {                                                                               \
            r.member[k] = a.member[k + (first)];                                                                       \
            r.member[k + 1] = b.member[k + (first)];                                                                   \
        }                                                                                                              \
        return r;                                                                                                      \
    }
UNPACK64(_mm512_unpacklo_pd, __m512d, d, 0)
UNPACK64(_mm512_unpackhi_pd, __m512d, d, 1)
UNPACK64(_mm512_unpacklo_epi64, __m512i, q, 0)
UNPACK64(_mm512_unpackhi_epi64, __m512i, q, 1)

/* 128-bit lanes: two chosen from a, then two chosen from b. */
SCALAR __m512 _mm512_shuffle_f32x4(__m512 a, __m512 b, int choice) {
    __m512 r;
    LANES(4) {
        const __m512 * from = lane < 2 ? &a : &b;
        memcpy(&r.f[4 * lane], &from->f[4 * (choice >> (2 * lane) & 3)], 16);
    }
    return r;
}

/* Within every 128-bit lane: two elements chosen from a, then two chosen from b. */
SCALAR __m512 _mm512_shuffle_ps(__m512 a, __m512 b, int choice) {
    __m512 r;
    LANES(16) {
        const __m512 * from = lane % 4 < 2 ? &a : &b;
        r.f[lane] = from->f[lane / 4 * 4 + (choice >> (2 * (lane % 4)) & 3)];
    }
    return r;
}

SCALAR __m512 _mm512_broadcast_f32x4(__m128 x) {
    __m512 r;
    LANES(4) memcpy(&r.f[4 * lane], &x, sizeof x);
    return r;
}

SCALAR __m512i _mm512_maskz_loadu_epi32(__mmask16 mask, const void * at) {
    __m512i r;
    memset(&r, 0, sizeof r);
    LANES(16) if (mask >> lane & 1) {
        memcpy(&r.i[lane], (const char *)at + 4 * lane, 4);
    }
    return r;
}

SCALAR void _mm512_mask_storeu_epi32(void * at, __mmask16 mask, __m512i x) {
    LANES(16) if (mask >> lane & 1) {
        memcpy((char *)at + 4 * lane, &x.i[lane], 4);
    }
}

SCALAR __m128i _mm_maskz_loadu_epi8(__mmask16 mask, const void * at) {
    __m128i r;
    LANES(16) r.s[lane] = (int8_t)(mask >> lane & 1 ? ((const int8_t *)at)[lane] : 0);
    return r;
}

SCALAR __m512i _mm512_srlv_epi32(__m512i x, __m512i by) {
    LANES(16) x.u[lane] = by.u[lane] < 32 ? x.u[lane] >> by.u[lane] : 0;
    return x;
}

SCALAR __m512i _mm512_maskz_compress_epi32(__mmask16 mask, __m512i x) {
    __m512i r = _mm512_setzero_si512();
    int n = 0;
    LANES(16) if (mask >> lane & 1) {
        r.i[n++] = x.i[lane];
    }
    return r;
}

SCALAR __m512i _mm512_mask_blend_epi32(__mmask16 mask, __m512i a, __m512i b) {
    LANES(16) a.i[lane] = mask >> lane & 1 ? b.i[lane] : a.i[lane];
    return a;
}

SCALAR __m512i _mm512_mask_mov_epi32(__m512i from, __mmask16 mask, __m512i x) {
    return _mm512_mask_blend_epi32(mask, from, x);
}

/* ---------------------------------------------------------------------------------------------- arithmetic, integer */

SCALAR __m512i _mm512_add_epi32(__m512i a, __m512i b) {
    LANES(16) a.u[lane] += b.u[lane];
    return a;
}

SCALAR __m512i _mm512_and_si512(__m512i a, __m512i b) {
    LANES(8) a.q[lane] &= b.q[lane];
    return a;
}

SCALAR __m512i _mm512_xor_si512(__m512i a, __m512i b) {
    LANES(8) a.q[lane] ^= b.q[lane];
    return a;
}

SCALAR __m512i _mm512_min_epi32(__m512i a, __m512i b) {
    LANES(16) a.i[lane] = a.i[lane] < b.i[lane] ? a.i[lane] : b.i[lane];
    return a;
}

SCALAR __m512i _mm512_max_epi32(__m512i a, __m512i b) {
    LANES(16) a.i[lane] = a.i[lane] > b.i[lane] ? a.i[lane] : b.i[lane];
    return a;
}

SCALAR __mmask16 _mm512_cmplt_epi32_mask(__m512i a, __m512i b) {
    unsigned r = 0;
    LANES(16) r |= (unsigned)(a.i[lane] < b.i[lane]) << lane;
    return (__mmask16)r;
}

SCALAR __m512i _mm512_srli_epi16(__m512i x, unsigned count) {
    LANES(32) x.w[lane] = (uint16_t)(x.w[lane] >> count);
    return x;
}

SCALAR __m512i _mm512_srli_epi32(__m512i x, unsigned count) {
    LANES(16) x.u[lane] >>= count;
    return x;
}

SCALAR __m512i _mm512_srli_epi64(__m512i x, unsigned count) {
    LANES(8) x.q[lane] >>= count;
    return x;
}

SCALAR __m512i _mm512_slli_epi64(__m512i x, unsigned count) {
    LANES(8) x.q[lane] <<= count;
    return x;
}

/* The low halves of 64-bit lanes. */
SCALAR __m512i _mm512_mul_epu32(__m512i a, __m512i b) {
    LANES(8) a.q[lane] = (a.q[lane] & UINT32_MAX) * (b.q[lane] & UINT32_MAX);
    return a;
}

/* Bit by bit: the bits of a, b, c (a highest) choose a bit of the table. */
SCALAR __m512i _mm512_ternarylogic_epi64(__m512i a, __m512i b, __m512i c, int table) {
    __m512i r = _mm512_setzero_si512();
    LANES(8) {
        for (int bit = 0; bit < 64; bit++) {
            const unsigned choice =
                (unsigned)((a.q[lane] >> bit & 1) << 2 | (b.q[lane] >> bit & 1) << 1 | (c.q[lane] >> bit & 1));
            r.q[lane] |= (uint64_t)((unsigned)table >> choice & 1) << bit;
        }
    }
    return r;
}

/* Four products of an unsigned byte of a and a signed byte of b, added without saturation. */
SCALAR __m512i _mm512_dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
    LANES(64) sum.u[lane / 4] += (uint32_t)((int32_t)a.b[lane] * (int32_t)b.s[lane]);
    return sum;
}

/* ------------------------------------------------------------------------------------- vectors of 32 bytes (AVX-VNNI) */

SCALAR __m256i _mm256_set1_epi32(int32_t x) {
    __m256i r;
    LANES(8) r.i[lane] = x;
    return r;
}

SCALAR __m256i _mm256_setzero_si256(void) {
    return _mm256_set1_epi32(0);
}

SCALAR __m256i _mm256_set1_epi8(char x) {
    __m256i r;
    LANES(32) r.b[lane] = (uint8_t)x;
    return r;
}

SCALAR __m256i _mm256_and_si256(__m256i a, __m256i b) {
    LANES(32) a.b[lane] &= b.b[lane];
    return a;
}

SCALAR __m256i _mm256_srli_epi16(__m256i a, int count) {
    LANES(16) a.w[lane] = (uint16_t)(a.w[lane] >> count);
    return a;
}

SCALAR __m256i _mm256_dpbusd_avx_epi32(__m256i sum, __m256i a, __m256i b) {
    LANES(32) sum.u[lane / 4] += (uint32_t)((int32_t)a.b[lane] * (int32_t)b.s[lane]);
    return sum;
}

SCALAR __m256 _mm256_set1_ps(float x) {
    __m256 r;
    LANES(8) r.f[lane] = x;
    return r;
}

SCALAR __m256 _mm256_cvtepi32_ps(__m256i a) {
    __m256 r;
    LANES(8) r.f[lane] = (float)a.i[lane];
    return r;
}

SCALAR __m256 _mm256_add_ps(__m256 a, __m256 b) {
    LANES(8) a.f[lane] += b.f[lane];
    return a;
}

SCALAR __m256 _mm256_mul_ps(__m256 a, __m256 b) {
    LANES(8) a.f[lane] *= b.f[lane];
    return a;
}

SCALAR void _mm256_storeu_ps(float * at, __m256 x) {
    memcpy(at, x.f, sizeof x.f);
}

#endif
