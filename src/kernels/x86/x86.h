/* SPDX-License-Identifier: MIT
 *
 * The x86 tiers.  Functions name their instruction sets in an attribute, so that no file needs flags of its own and no
 * AVX copy of a helper can leak into portable code.
 */
#ifndef VATTN_KERNELS_X86_H
#define VATTN_KERNELS_X86_H

#include "kernels/kernels.h"

#if defined(VATTN_SCALAR_INTRINSICS) /* tests/emulated: intrinsics spelled out in C */
#define VATTN_TARGET(isa)
#else
#define VATTN_TARGET(isa) __attribute__((target(isa)))
#endif
#define VATTN_ALWAYS_INLINE static inline __attribute__((always_inline))
#define VATTN_AVX2          VATTN_TARGET("avx2,fma,f16c,bmi,bmi2")
#define VATTN_AVX512        VATTN_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,bmi,bmi2")

#if defined(__clang__)
#define VATTN_UNROLL(n) VATTN_PRAGMA(unroll n)
#else
#define VATTN_UNROLL(n) VATTN_PRAGMA(GCC unroll n)
#endif
#define VATTN_PRAGMA(text) _Pragma(#text)

#define VATTN_DECLARE_TIER(tier)                                                                                       \
    void vattn_score_f16_##tier(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim,         \
                                float * out, ptrdiff_t ld);                                                            \
    void vattn_score_f32_##tier(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim,         \
                                float * out, ptrdiff_t ld);                                                            \
    void vattn_accumulate_f16_##tier(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld,               \
                                     int32_t n_heads, int32_t dim, float * acc);                                       \
    void vattn_accumulate_f32_##tier(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld,               \
                                     int32_t n_heads, int32_t dim, float * acc);                                       \
    void vattn_deviation_f16_##tier(const struct vattn_rows * rows, const float * center, const float * root,          \
                                    ptrdiff_t ld, int32_t n_heads, int32_t dim, int32_t first, float * dist2,          \
                                    float * bucket);                                                                   \
    void vattn_deviation_f32_##tier(const struct vattn_rows * rows, const float * center, const float * root,          \
                                    ptrdiff_t ld, int32_t n_heads, int32_t dim, int32_t first, float * dist2,          \
                                    float * bucket);                                                                   \
    float vattn_max_##tier(const float * x, int32_t n);                                                                \
    float vattn_exp2_sum_##tier(float * x, int32_t n, float m);                                                        \
    void vattn_design_##tier(const float * score, const float * weight, ptrdiff_t ld, const float * threshold,         \
                             int32_t n_heads, int32_t n, float floor, float * v, float * q);                           \
    void vattn_scan_##tier(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,                   \
                           const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld);         \
    int32_t vattn_select_##tier(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,           \
                                int64_t first, int32_t n_blocks, const uint16_t * visible, const uint16_t * sure,      \
                                const int8_t * bonus, int32_t floor, const struct vattn_random_key * key,              \
                                int32_t * rows, int32_t * prob, int32_t * draw);                                       \
    int32_t vattn_thin_##tier(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,  \
                              const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw,               \
                              int32_t * keep, int32_t * n_tail)

VATTN_DECLARE_TIER(avx2);
VATTN_DECLARE_TIER(avx512);

#endif
