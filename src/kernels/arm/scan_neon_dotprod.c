/* SPDX-License-Identifier: MIT
 *
 * Proxy scores from codes with SDOT, which adds the four products of a token in 32 bits: one instruction for 4 tokens x 4
 * coordinates.
 */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

#define SCAN_TARGET VATTN_DOTPROD
#define SCAN_GROUP  4 /* sixteen sums */

#include "kernels/arm/scan_neon.h"

/* sum[t] += a[4t] * b[4t] + ... + a[4t + 3] * b[4t + 3].  In assembly: clang before 16 has no intrinsic for functions
 * with a target attribute. */
SCAN_TARGET VATTN_ALWAYS_INLINE int32x4_t sdot(int32x4_t sum, int8x16_t a, int8x16_t b) {
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
    return sum;
}

SCAN_TARGET VATTN_ALWAYS_INLINE void add_products(const uint8_t * chunk, int32_t n_chunks, const struct weights * w,
                                                  int32_t word, const int32_t width, const int32_t n_heads,
                                                  int32x4_t sum[SCAN_GROUP][4]) {
    for (int32_t c = 0; c < n_chunks; c++, chunk += 64) {
        uint8x16_t byte[4];
        for (int32_t v = 0; v < 4; v++) {
            byte[v] = vld1q_u8(chunk + 16 * v);
        }
        for (int32_t shift = 0; shift < 8; shift += width, word++) {
            int8x16_t code[4];
            for (int32_t v = 0; v < 4; v++) {
                code[v] = codes_at(byte[v], shift, width);
            }
            for (int32_t g = 0; g < n_heads; g++) {
                const int8x16_t weight = load_weights(w, g, word);
                for (int32_t v = 0; v < 4; v++) {
                    sum[g][v] = sdot(sum[g][v], code[v], weight);
                }
            }
        }
    }
}

VATTN_DOTPROD void vattn_scan_neon_dotprod(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                                           const struct vattn_query_code * query, int32_t n_heads, float * out,
                                           ptrdiff_t ld) {
    scan(codes, n_blocks, layout, query, n_heads, out, ld);
}

#else
typedef int vattn_empty_translation_unit;
#endif
