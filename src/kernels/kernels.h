/* SPDX-License-Identifier: MIT
 *
 * The contract of the kernels: one const table of function pointers per tier, chosen once by the plan.
 *
 * Every entry has a slow twin in ref/ (double precision, written to be read) and a portable one in generic/.
 * A tier fills all entries; where it has nothing better it points to the generic function.
 * Kernels neither allocate nor check arguments (assert only).  All loads may be unaligned.
 * Sums are taken in an order that depends on the arguments alone, never on threads.
 *
 * Scores are in log2 units everywhere: the caller multiplies q by scale * log2(e), so weights are exp2(s - m).
 */
#ifndef VATTN_KERNELS_H
#define VATTN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu_features.h"
#include "vattn.h"

/* n rows of K or V of one KV head: row j is at base + stride * (index ? index[j] : j).
 * ahead: what to prefetch meanwhile, as many bytes as a row has at ahead + ahead_stride * j for row j; these bytes need
 * not exist.  NULL: the rows that follow.  Kernels may ignore it. */
struct vattn_rows {
    const void * base;
    size_t stride; /* bytes */
    const int32_t * index;
    int32_t n;
    const void * ahead;
    size_t ahead_stride;
};

#define VATTN_BLOCK    16 /* tokens in a block of codes */
#define VATTN_MAX_DIM  576
#define VATTN_PROB_ONE (1 << 24)

/*
 * Codes of one block of 16 tokens, coordinate-major, in chunks of 64 bytes; byte t * 4 + j belongs to token t:
 *   n8 / 4 chunks    coordinate 4c + j, 8 bits
 *   n4 / 8 chunks    low nibble: coordinate n8 + 8c + j, high nibble: coordinate n8 + 8c + 4 + j
 *   n2 / 16 chunks   bits 2b, 2b + 1: coordinate n8 + n4 + 16c + 4b + j, b = 0..3
 * n8 is a multiple of 4, n4 of 8, n2 of 16.  Codes are unsigned.
 */
struct vattn_code_layout {
    int32_t n8, n4, n2;
};

static inline int32_t vattn_layout_coords(struct vattn_code_layout l) {
    return l.n8 + l.n4 + l.n2;
}

static inline size_t vattn_layout_token_bytes(struct vattn_code_layout l) {
    return (size_t)(l.n8 + l.n4 / 2 + l.n2 / 4);
}

/* A query head against the codes: score = offset + scale8 * S8 + scale4 * S4 + scale2 * S2, where Sx is the integer
 * sum of weight * code over the coordinates of class x.  weight is int8 in [-127, 127], in coordinate order.
 * Products are rounded and added to offset in the order 8, 4, 2 (no fused multiply-add), so all tiers agree. */
struct vattn_query_code {
    const int8_t * weight;
    float offset, scale8, scale4, scale2;
};

/* Philox4x32-10 with key = seed and counter = (token / 4, nonce lo, nonce hi, stream); token t takes word t & 3. */
struct vattn_random_key {
    uint32_t seed[2];
    uint32_t nonce[2];
    uint32_t stream; /* domain, layer, KV head: see base/random.h */
};

/* Kernels that read rows of K or V, one function for every type of rows (enum vattn_type).  Rows of q8_0 have a dim that is
 * a multiple of 32; their elements are scale * int8, which floats hold exactly. */

/* out[g * ld + j] = sum_d q[g * dim + d] * row_j[d],  g < n_heads, j < rows->n.  Accumulates in f32.
 * n_heads may be anything from 1 to some hundreds (encoding uses this kernel with the rows of the basis as q). */
typedef void vattn_score_kernel(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim,
                                float * out, ptrdiff_t ld);

/* acc[g * dim + d] += sum_j weight[g * ld + j] * row_j[d] */
typedef void vattn_accumulate_kernel(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld,
                                     int32_t n_heads, int32_t dim, float * acc);

/* dist2[g * ld + j] = sum_d (row_j[d] - center[g * dim + d])^2 */
typedef void vattn_distance_kernel(const struct vattn_rows * rows, const float * center, int32_t n_heads, int32_t dim,
                                   float * dist2, ptrdiff_t ld);

/* dist2[j] = sum_d (row_j[d] - center_j[d])^2   and, unless out is NULL,   out[j * ld + d] = row_j[d] - center_j[d],
 * where center_j is row j of centers: rows of the same type and number.  out does not overlap the rows. */
typedef void vattn_offset_kernel(const struct vattn_rows * rows, const struct vattn_rows * centers, int32_t dim,
                                 float * dist2, float * out, ptrdiff_t ld);

struct vattn_kernels {
    const char * name;

    /* By type of the rows. */
    vattn_score_kernel * score[VATTN_TYPE_COUNT];
    vattn_accumulate_kernel * accumulate[VATTN_TYPE_COUNT];
    vattn_distance_kernel * distance[VATTN_TYPE_COUNT];
    vattn_offset_kernel * offset[VATTN_TYPE_COUNT];

    /* max_j x[j]; -inf for n = 0.  A NaN does not count. */
    float (*max)(const float * x, int32_t n);

    /* x[j] = exp2(x[j] - m), returns their sum.  -inf gives 0; relative error of each value below 2e-7 plus the
     * rounding of x[j] - m; results below 2^-126 may be 0.  -inf gives 0 for m = -inf, too; any other NaN stays. */
    float (*exp2_sum)(float * x, int32_t n, float m);

    /* What thresholds would give on a sample of n tokens:
     *     w_j = 1 / max(floor, L(max_g (score[g * ld + j] - threshold[g]))) - 1        L as in select, floor > 0
     *     v[g] = sum_j w_j z_gj,   q[g] = sum_j w_j^3 z_gj^2,   z_gj = weight[g * ld + j]
     * n is a multiple of 8.  Scores may be infinite, weights are finite. */
    void (*design)(const float * score, const float * weight, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                   int32_t n, float floor, float * v, float * q);

    /* Proxy scores of all tokens of n_blocks blocks: out[g * ld + t], t < 16 * n_blocks.  Integer sums are exact. */
    void (*scan)(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                 const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld);

    /*
     * Poisson sampling of the tokens first + t, t < 16 * n_blocks (first is a multiple of 16):
     *   x_t    = max_g (score[g * ld + t] - threshold[g]) + bonus[t] / 8
     *   P_t    = min(2^24, max(floor, trunc(2^24 * L(x_t)))),  L(x) = the piecewise linear 2^x: the float whose bits
     *            are trunc(x * 2^23 + 127 * 2^23) with x clamped to [-126, 0], the sum rounded once to float
     *   token t is taken iff it is visible and (it is sure or (u32_t >> 8) < P_t); sure tokens report P = 2^24, u = -1
     * visible, sure: bit b of word w is token 16 w + b of this range; visible NULL = all, sure NULL = none, bonus NULL = 0.
     * Writes row numbers (int32: first + t), P and u32_t >> 8 in token order, with room for 16 more than the count.
     * Returns the number of tokens taken.  All tiers give the same bits for the same scores.
     */
    int32_t (*select)(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int64_t first,
                      int32_t n_blocks, const uint16_t * visible, const uint16_t * sure, const int8_t * bonus,
                      int32_t floor, const struct vattn_random_key * key, int32_t * rows, int32_t * prob,
                      int32_t * draw);

    /*
     * The second stage of the sampling, for n keys that were drawn and scored:
     *   x_j  = max_g (score[g * ld + j] - threshold[g]) + bonus[j] / 8
     *   P_j  = min(prob[j], max(prob[j] >> shift, trunc(2^24 * L(x_j))))      replaces prob[j] where draw[j] >= 0
     *   key j stays iff draw[j] < P_j; one with draw[j] = -1 always does
     * Writes to keep the positions j of those that stay: first those with P_j < 2^24, then the others, each in ascending
     * order; keep has room for n + 16.  Returns their number, in *n_tail how many are of the first kind.
     * All tiers give the same bits for the same scores.
     */
    int32_t (*thin)(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,
                    const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw, int32_t * keep,
                    int32_t * n_tail);
};

/* For tables: the types of rows, the functions of a tier by type, and their declarations. */
#define VATTN_EACH_TYPE(what)                                                                                          \
    what(f32, VATTN_TYPE_F32) what(f16, VATTN_TYPE_F16) what(bf16, VATTN_TYPE_BF16) what(q8_0, VATTN_TYPE_Q8_0)
#define VATTN_BY_TYPE(kernel, tier)                                                                                    \
    {                                                                                                                  \
        [VATTN_TYPE_F32] = vattn_##kernel##_f32_##tier, [VATTN_TYPE_F16] = vattn_##kernel##_f16_##tier,                \
        [VATTN_TYPE_BF16] = vattn_##kernel##_bf16_##tier, [VATTN_TYPE_Q8_0] = vattn_##kernel##_q8_0_##tier,            \
    }
/* The table of a tier.  A scan may be another than the tier's own: instructions that serve it alone make a table, not a tier. */
#define VATTN_TABLE(table_name, tier, table_scan)                                                                      \
    {                                                                                                                  \
        .name = (table_name), .score = VATTN_BY_TYPE(score, tier), .accumulate = VATTN_BY_TYPE(accumulate, tier),      \
        .distance = VATTN_BY_TYPE(distance, tier), .offset = VATTN_BY_TYPE(offset, tier), .max = vattn_max_##tier,     \
        .exp2_sum = vattn_exp2_sum_##tier, .design = vattn_design_##tier, .scan = (table_scan),                        \
        .select = vattn_select_##tier, .thin = vattn_thin_##tier,                                                      \
    }
#define VATTN_DECLARE_ROWS(tier)                                                                                       \
    vattn_score_kernel vattn_score_f32_##tier, vattn_score_f16_##tier, vattn_score_bf16_##tier,                        \
        vattn_score_q8_0_##tier;                                                                                       \
    vattn_accumulate_kernel vattn_accumulate_f32_##tier, vattn_accumulate_f16_##tier, vattn_accumulate_bf16_##tier,    \
        vattn_accumulate_q8_0_##tier;                                                                                  \
    vattn_distance_kernel vattn_distance_f32_##tier, vattn_distance_f16_##tier, vattn_distance_bf16_##tier,            \
        vattn_distance_q8_0_##tier;                                                                                    \
    vattn_offset_kernel vattn_offset_f32_##tier, vattn_offset_f16_##tier, vattn_offset_bf16_##tier,                    \
        vattn_offset_q8_0_##tier

extern const struct vattn_kernels vattn_kernels_generic;
#if defined(__x86_64__)
extern const struct vattn_kernels vattn_kernels_avx2;
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define VATTN_HAVE_AVXVNNI 1 /* the compiler knows vpdpbusd without AVX-512 */
extern const struct vattn_kernels vattn_kernels_avx2_vnni;
#endif
extern const struct vattn_kernels vattn_kernels_avx512;
#elif defined(__AARCH64EL__)
extern const struct vattn_kernels vattn_kernels_neon;
extern const struct vattn_kernels vattn_kernels_neon_dotprod;
#endif

/* Bits of the mask of disabled tiers; without avx2 there is no avx512 either. */
enum vattn_tier { VATTN_TIER_AVX512 = 1, VATTN_TIER_AVX2 = 2, VATTN_TIER_NEON = 4 };

/* The best tier that this machine, or one with these features, supports and that the mask leaves. */
const struct vattn_kernels * vattn_kernels_pick(uint32_t disabled_tiers);
const struct vattn_kernels * vattn_kernels_pick_for(struct vattn_cpu_features cpu, uint32_t disabled_tiers);

/* Table i = 0, 1, ... of those that this machine can run, best first; NULL behind the last, which is the generic one. */
const struct vattn_kernels * vattn_kernels_supported(int32_t i);

#endif
