/* SPDX-License-Identifier: MIT
 *
 * Proxy scores from codes in the base instruction set: SMULL and SMLAL add products in 16 bits until these are full;
 * SADALP widens the sums, pair by pair.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#define SCAN_TARGET
#define SCAN_GROUP 2 /* sixteen sums of 16 bits */

#include "kernels/arm/scan_neon.h"

/* Chunks after which sums of 16 bits are full: products of at most 128 * 127, 15 * 127 and 3 * 127. */
VATTN_ALWAYS_INLINE int32_t full_after(const int32_t width) {
    return width == 8 ? 2 : width == 4 ? 8 : 21;
}

SCAN_TARGET VATTN_ALWAYS_INLINE void add_products(const uint8_t * chunk, int32_t n_chunks, const struct weights * w,
                                                  int32_t word, const int32_t width, const int32_t n_heads,
                                                  int32x4_t sum[SCAN_GROUP][4]) {
    int32x4_t pair_sum[SCAN_GROUP][8]; /* two tokens, two sums each */
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t i = 0; i < 8; i++) {
            pair_sum[g][i] = vdupq_n_s32(0);
        }
    }
    for (int32_t c = 0; c < n_chunks;) {
        const int32_t end = n_chunks - c < full_after(width) ? n_chunks : c + full_after(width);
        int16x8_t short_sum[SCAN_GROUP][8];
        for (int32_t g = 0; g < n_heads; g++) {
            for (int32_t i = 0; i < 8; i++) {
                short_sum[g][i] = vdupq_n_s16(0);
            }
        }
        for (; c < end; c++, chunk += 64) {
            for (int32_t shift = 0; shift < 8; shift += width, word++) {
                int8x16_t weight[SCAN_GROUP];
                for (int32_t g = 0; g < n_heads; g++) {
                    weight[g] = load_weights(w, g, word);
                }
                for (int32_t v = 0; v < 4; v++) {
                    const int8x16_t code = codes_at(vld1q_u8(chunk + 16 * v), shift, width);
                    for (int32_t g = 0; g < n_heads; g++) {
                        int16x8_t * s = short_sum[g] + 2 * v;
                        s[0] = vmlal_s8(s[0], vget_low_s8(code), vget_low_s8(weight[g]));
                        s[1] = vmlal_high_s8(s[1], code, weight[g]);
                    }
                }
            }
        }
        for (int32_t g = 0; g < n_heads; g++) {
            for (int32_t i = 0; i < 8; i++) {
                pair_sum[g][i] = vpadalq_s16(pair_sum[g][i], short_sum[g][i]);
            }
        }
    }
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < 4; v++) {
            sum[g][v] = vaddq_s32(sum[g][v], vpaddq_s32(pair_sum[g][2 * v], pair_sum[g][2 * v + 1]));
        }
    }
}

void vattn_scan_neon(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                     const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld) {
    scan(codes, n_blocks, layout, query, n_heads, out, ld);
}

#else
typedef int vattn_empty_translation_unit;
#endif
