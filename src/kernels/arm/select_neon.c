/* SPDX-License-Identifier: MIT
 *
 * Poisson sampling, two blocks (eight counters) at a time.
 *
 * Philox: UMULL and UMULL2 give the four 64-bit products of a vector of counters, UZP1 and UZP2 part their halves, so a
 * round of four counters is four multiplications, four permutations and four xors.  The four words of a counter belong
 * to four tokens in a row: ST4 writes them in that order.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#include <arm_neon.h>
#include <assert.h>

#include "base/random.h"
#include "kernels/arm/probability_neon.h"

enum { MAX_BLOCKS = 2 };

VATTN_ALWAYS_INLINE void multiply(uint32x4_t a, uint32_t b, uint32x4_t * high, uint32x4_t * low) {
    const uint32x4_t p0 = vreinterpretq_u32_u64(vmull_n_u32(vget_low_u32(a), b));
    const uint32x4_t p1 = vreinterpretq_u32_u64(vmull_high_n_u32(a, b));
    *high = vuzp2q_u32(p0, p1);
    *low = vuzp1q_u32(p0, p1);
}

/* The words of counters base .. base + 4 n_blocks - 1, token after token. */
VATTN_ALWAYS_INLINE void philox(uint32_t base, const struct vattn_random_key * key, const int32_t n_blocks,
                                uint32_t * word) {
    static const uint32_t lane[4] = {0, 1, 2, 3};
    uint32x4_t c0[MAX_BLOCKS], c1[MAX_BLOCKS], c2[MAX_BLOCKS], c3[MAX_BLOCKS];
    for (int32_t i = 0; i < n_blocks; i++) {
        c0[i] = vaddq_u32(vdupq_n_u32(base + 4 * (uint32_t)i), vld1q_u32(lane));
        c1[i] = vdupq_n_u32(key->nonce[0]);
        c2[i] = vdupq_n_u32(key->nonce[1]);
        c3[i] = vdupq_n_u32(key->stream);
    }
    uint32_t k0 = key->seed[0], k1 = key->seed[1];
    for (int32_t round = 0; round < 10; round++) {
        for (int32_t i = 0; i < n_blocks; i++) {
            uint32x4_t high0, low0, high1, low1;
            multiply(c0[i], VATTN_PHILOX_M0, &high0, &low0);
            multiply(c2[i], VATTN_PHILOX_M1, &high1, &low1);
            c0[i] = veorq_u32(veorq_u32(high1, c1[i]), vdupq_n_u32(k0));
            c2[i] = veorq_u32(veorq_u32(high0, c3[i]), vdupq_n_u32(k1));
            c1[i] = low1;
            c3[i] = low0;
        }
        k0 += VATTN_PHILOX_W0;
        k1 += VATTN_PHILOX_W1;
    }
    for (int32_t i = 0; i < n_blocks; i++) {
        const uint32x4x4_t words = {{c0[i], c1[i], c2[i], c3[i]}};
        vst4q_u32(word + VATTN_BLOCK * i, words);
    }
}

/* x[i] = max_g (score - threshold), tokens 4i .. 4i + 3; FMAXNM takes the number where a difference is a NaN. */
VATTN_ALWAYS_INLINE void above_threshold(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                         const int32_t n_vectors, float32x4_t * x) {
    for (int32_t i = 0; i < n_vectors; i++) {
        x[i] = vdupq_n_f32(-126);
    }
    for (int32_t g = 0; g < n_heads; g++) {
        const float32x4_t t = vdupq_n_f32(threshold[g]);
        for (int32_t i = 0; i < n_vectors; i++) {
            x[i] = vmaxnmq_f32(vsubq_f32(vld1q_f32(score + g * ld + 4 * i), t), x[i]);
        }
    }
}

/* x[i] += bonus / 8, a block */
VATTN_ALWAYS_INLINE void add_bonus(const int8_t * bonus, float32x4_t * x) {
    const int8x16_t byte = vld1q_s8(bonus);
    const int16x8_t half[2] = {vmovl_s8(vget_low_s8(byte)), vmovl_high_s8(byte)};
    for (int32_t i = 0; i < 4; i++) {
        const int32x4_t whole = i % 2 == 0 ? vmovl_s16(vget_low_s16(half[i / 2])) : vmovl_high_s16(half[i / 2]);
        x[i] = vaddq_f32(x[i], vmulq_n_f32(vcvtq_f32_s32(whole), 0.125f)); /* the product is exact */
    }
}

/* Bit t: lane t of the sixteen is set. */
VATTN_ALWAYS_INLINE uint32_t bits_of(const uint32x4_t mask[4]) {
    static const uint8_t bit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint16x8_t low = vcombine_u16(vmovn_u32(mask[0]), vmovn_u32(mask[1]));
    const uint16x8_t high = vcombine_u16(vmovn_u32(mask[2]), vmovn_u32(mask[3]));
    const uint8x8_t weight = vld1_u8(bit);
    return (uint32_t)vaddv_u8(vand_u8(vmovn_u16(low), weight)) | (uint32_t)vaddv_u8(vand_u8(vmovn_u16(high), weight))
                                                                     << 8;
}

/* Where the tokens that are taken go. */
struct taken {
    int32_t *rows, *prob, *draw;
    int32_t count;
};

/* n_blocks blocks from token `token` on, of which some token is visible; the pointers are those of the first block. */
VATTN_ALWAYS_INLINE void select_blocks(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                       int64_t token, const int32_t n_blocks, uint32_t visible, uint32_t sure,
                                       const int8_t * bonus, int32_t floor, const struct vattn_random_key * key,
                                       struct taken * taken) {
    const int32_t n_vectors = 4 * n_blocks;
    float32x4_t x[4 * MAX_BLOCKS];
    uint32_t word[VATTN_BLOCK * MAX_BLOCKS];
    int32_t all_prob[VATTN_BLOCK * MAX_BLOCKS], all_draw[VATTN_BLOCK * MAX_BLOCKS];
    uint32x4_t below[4 * MAX_BLOCKS];
    above_threshold(score, ld, threshold, n_heads, n_vectors, x);
    for (int32_t i = 0; bonus != NULL && i < n_blocks; i++) {
        add_bonus(bonus + VATTN_BLOCK * i, x + 4 * i);
    }
    philox((uint32_t)(token / 4), key, n_blocks, word);
    for (int32_t i = 0; i < n_vectors; i++) {
        const int32x4_t p = probability(x[i], vdupq_n_s32(floor));
        const int32x4_t draw = vreinterpretq_s32_u32(vshrq_n_u32(vld1q_u32(word + 4 * i), 8));
        below[i] = vcltq_s32(draw, p);
        vst1q_s32(all_prob + 4 * i, p);
        vst1q_s32(all_draw + 4 * i, draw);
    }
    uint32_t left = sure;
    for (int32_t i = 0; i < n_blocks; i++) {
        left |= bits_of(below + 4 * i) << (VATTN_BLOCK * i);
    }
    for (left &= visible; left != 0; left &= left - 1) {
        const uint32_t t = (uint32_t)__builtin_ctz(left);
        const bool is_sure = sure >> t & 1;
        taken->rows[taken->count] = (int32_t)(token + t);
        taken->prob[taken->count] = is_sure ? VATTN_PROB_ONE : all_prob[t];
        taken->draw[taken->count] = is_sure ? -1 : all_draw[t];
        taken->count++;
    }
}

/* Bits of blocks b and, if there are two, b + 1. */
VATTN_ALWAYS_INLINE uint32_t block_bits(const uint16_t * bits, int32_t b, int32_t n_blocks) {
    return (uint32_t)bits[b] | (n_blocks == 2 ? (uint32_t)bits[b + 1] << VATTN_BLOCK : 0);
}

int32_t vattn_select_neon(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int64_t first,
                          int32_t n_blocks, const uint16_t * visible, const uint16_t * sure, const int8_t * bonus,
                          int32_t floor, const struct vattn_random_key * key, int32_t * rows, int32_t * prob,
                          int32_t * draw) {
    assert(first % VATTN_BLOCK == 0);
    struct taken taken = {rows, prob, draw, 0};
    for (int32_t b = 0; b < n_blocks; b += MAX_BLOCKS) {
        const int32_t n = n_blocks - b < MAX_BLOCKS ? 1 : MAX_BLOCKS;
        const uint32_t visible_bits = visible != NULL ? block_bits(visible, b, n) : n == 2 ? UINT32_MAX : UINT16_MAX;
        if (visible_bits == 0) {
            continue;
        }
        const uint32_t sure_bits = sure != NULL ? block_bits(sure, b, n) : 0;
        const ptrdiff_t at = (ptrdiff_t)b * VATTN_BLOCK;
        const int8_t * bonus_at = bonus != NULL ? bonus + at : NULL;
        if (n == 2) {
            select_blocks(score + at, ld, threshold, n_heads, first + at, 2, visible_bits, sure_bits, bonus_at, floor,
                          key, &taken);
        } else {
            select_blocks(score + at, ld, threshold, n_heads, first + at, 1, visible_bits, sure_bits, bonus_at, floor,
                          key, &taken);
        }
    }
    return taken.count;
}

#else
typedef int vattn_empty_translation_unit;
#endif
