/* SPDX-License-Identifier: MIT
 *
 * Proxy scores from codes: what the scans with and without SDOT share.  A file that includes this defines
 *
 *   SCAN_TARGET     the attribute of its functions.  All functions here carry it, because none with other attributes can
 *                   be inlined into them.
 *   SCAN_GROUP      heads per pass over the codes, 2 or 4
 *   add_products()  see below
 *
 * A chunk of 64 bytes is four vectors of 4 tokens x 4 coordinates.  Codes are unsigned and weights signed, but both
 * instructions multiply like with like only.  Codes of 4 and 2 bits are the same either way; those of 8 bits are taken as
 * code - 128, and their sum starts at 128 * (sum of weights).
 */
#ifndef VATTN_SCAN_NEON_H
#define VATTN_SCAN_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "base/rounded.h"
#include "kernels/arm/arm.h"

/* Weights in coordinate order, four int8 a word, and 128 times the sum of those of 8-bit codes. */
struct weights {
    const struct vattn_query_code * query;
    int32_t word[SCAN_GROUP][VATTN_MAX_DIM / 4];
    int32_t bias[SCAN_GROUP];
};

/* sum[g][v] += the products of the coordinates of one class (width: bits of a code), tokens 4v .. 4v + 3; their weights
 * begin at `word`. */
SCAN_TARGET VATTN_ALWAYS_INLINE void add_products(const uint8_t * chunk, int32_t n_chunks, const struct weights * w,
                                                  int32_t word, const int32_t width, const int32_t n_heads,
                                                  int32x4_t sum[SCAN_GROUP][4]);

/* The codes at bit `shift` of every byte, as signed numbers. */
SCAN_TARGET VATTN_ALWAYS_INLINE int8x16_t codes_at(uint8x16_t byte, const int32_t shift, const int32_t width) {
    const uint8x16_t mask = vdupq_n_u8(width == 4 ? 15 : 3);
    switch (shift) {
    case 0:
        return vreinterpretq_s8_u8(width == 8 ? veorq_u8(byte, vdupq_n_u8(128)) : vandq_u8(byte, mask));
    case 2:
        return vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(byte, 2), mask));
    case 4:
        return vreinterpretq_s8_u8(width == 4 ? vshrq_n_u8(byte, 4) : vandq_u8(vshrq_n_u8(byte, 4), mask));
    default:
        return vreinterpretq_s8_u8(vshrq_n_u8(byte, 6));
    }
}

SCAN_TARGET VATTN_ALWAYS_INLINE int8x16_t load_weights(const struct weights * w, int32_t g, int32_t word) {
    return vreinterpretq_s8_s32(vld1q_dup_s32(w->word[g] + word));
}

/* score[g] += scale * (start + sum over one class), product and sum rounded one by one. */
SCAN_TARGET VATTN_ALWAYS_INLINE void add_class(const uint8_t * chunk, int32_t n_chunks, const struct weights * w,
                                               int32_t word, const int32_t width, const int32_t n_heads,
                                               const float scale[SCAN_GROUP], float32x4_t score[SCAN_GROUP][4]) {
    int32x4_t sum[SCAN_GROUP][4];
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < 4; v++) {
            sum[g][v] = vdupq_n_s32(width == 8 ? w->bias[g] : 0);
        }
    }
    add_products(chunk, n_chunks, w, word, width, n_heads, sum);
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < 4; v++) {
            float32x4_t term = vmulq_n_f32(vcvtq_f32_s32(sum[g][v]), scale[g]);
            VATTN_ROUNDED(term);
            score[g][v] = vaddq_f32(score[g][v], term);
        }
    }
}

SCAN_TARGET VATTN_ALWAYS_INLINE void scan_heads(const uint8_t * codes, int32_t n_blocks,
                                                struct vattn_code_layout layout, const struct weights * w,
                                                const int32_t n_heads, float * out, ptrdiff_t ld) {
    const struct vattn_query_code * query = w->query;
    const int32_t n8 = layout.n8, n4 = layout.n4, n2 = layout.n2;
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    float scale8[SCAN_GROUP], scale4[SCAN_GROUP], scale2[SCAN_GROUP];
    for (int32_t g = 0; g < n_heads; g++) {
        scale8[g] = query[g].scale8;
        scale4[g] = query[g].scale4;
        scale2[g] = query[g].scale2;
    }
    for (int32_t b = 0; b < n_blocks; b++, codes += block_bytes, out += VATTN_BLOCK) {
        prefetch_codes(codes, block_bytes);
        float32x4_t score[SCAN_GROUP][4];
        for (int32_t g = 0; g < n_heads; g++) {
            for (int32_t v = 0; v < 4; v++) {
                score[g][v] = vdupq_n_f32(query[g].offset);
            }
        }
        const uint8_t *codes4 = codes + n8 * 16, *codes2 = codes4 + n4 * 8;
        add_class(codes, n8 / 4, w, 0, 8, n_heads, scale8, score);
        add_class(codes4, n4 / 8, w, n8 / 4, 4, n_heads, scale4, score);
        add_class(codes2, n2 / 16, w, (n8 + n4) / 4, 2, n_heads, scale2, score);
        for (int32_t g = 0; g < n_heads; g++) {
            for (int32_t v = 0; v < 4; v++) {
                vst1q_f32(out + g * ld + 4 * v, score[g][v]);
            }
        }
    }
}

SCAN_TARGET static void set_weights(struct weights * w, const struct vattn_query_code * query, int32_t n_heads,
                                    struct vattn_code_layout layout) {
    w->query = query;
    for (int32_t g = 0; g < n_heads; g++) {
        int32_t sum = 0;
        for (int32_t k = 0; k < layout.n8; k++) {
            sum += query[g].weight[k];
        }
        w->bias[g] = 128 * sum;
        memcpy(w->word[g], query[g].weight, (size_t)vattn_layout_coords(layout));
    }
}

#include "kernels/scan_strips.h"

#endif
