/* SPDX-License-Identifier: MIT
 *
 * Proxy scores from codes.
 *   8 bits   two products of 255 * 127 would saturate vpmaddubsw, so even and odd coordinates are widened to 16 bits
 *            and vpmaddwd adds pairs in 32 bits
 *   4 bits   vpmaddubsw adds two products of at most 15 * 127: eight such pairs fit 16 bits
 *   2 bits   at most 3 * 127: forty-two pairs fit
 * The 16-bit sums are widened by a vpmaddwd with ones when they are full.  So a multiplication and an addition are all that
 * a vector of codes takes for a head.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#define SCAN_TARGET VATTN_AVX2
#define SCAN_SUMS   4
#define SCAN_WORDS8 2
#define SCAN_SHORT4 32 /* coordinates of 4 bits that 16 bits hold, FULL4 chunks */
#define SCAN_SHORT2 160

#include "kernels/x86/scan_halves.h"

enum {
    FULL4 = 4, /* chunks of 4-bit codes until 16 bits are full: two pairs each */
    FULL2 = 10 /* of 2-bit codes: four pairs each */
};

SCAN_TARGET VATTN_ALWAYS_INLINE const __m256i * add_wide(const uint8_t * chunk, int32_t n_chunks, const __m256i * w,
                                                         const int32_t n_heads, const int32_t n_halves,
                                                         __m256i sum[SCAN_SUMS]) {
    const __m256i even_bytes = _mm256_set1_epi16(0xff);
    const uint8_t * end = chunk + (size_t)n_chunks * 64;
    clear(sum, n_heads * n_halves);
    do {
        for (int32_t half = 0; half < n_halves; half++) {
            const __m256i code = load_codes(chunk + 32 * half);
            const __m256i even = _mm256_and_si256(code, even_bytes), odd = _mm256_srli_epi16(code, 8);
            for (int32_t g = 0; g < n_heads; g++) {
                const int32_t i = half * n_heads + g;
                __m256i next = _mm256_add_epi32(sum[i], _mm256_madd_epi16(even, w[g]));
                VATTN_IN_ORDER(next);
                sum[i] = _mm256_add_epi32(next, _mm256_madd_epi16(odd, w[n_heads + g]));
            }
        }
        chunk += 64;
        w += 2 * n_heads;
    } while (chunk != end);
    return w;
}

/* Chunks, at least one, whose sums 16 bits hold. */
SCAN_TARGET VATTN_ALWAYS_INLINE const __m256i * add_batch(const uint8_t * chunk, int32_t n_chunks, const __m256i * w,
                                                          const int32_t width, const int32_t n_heads,
                                                          const int32_t n_halves, __m256i short_sum[SCAN_SUMS]) {
    const uint8_t * end = chunk + (size_t)n_chunks * 64;
    clear(short_sum, n_heads * n_halves);
    do {
        for (int32_t shift = 0; shift < 8; shift += width, w += n_heads) {
            for (int32_t half = 0; half < n_halves; half++) {
                const __m256i code = codes_at(chunk + 32 * half, shift, width);
                for (int32_t g = 0; g < n_heads; g++) {
                    const int32_t i = half * n_heads + g;
                    __m256i next = _mm256_add_epi16(short_sum[i], _mm256_maddubs_epi16(code, w[g]));
                    VATTN_IN_ORDER(next);
                    short_sum[i] = next;
                }
            }
        }
        chunk += 64;
    } while (chunk != end);
    return w;
}

/* Codes of 4 and 2 bits. */
SCAN_TARGET VATTN_ALWAYS_INLINE const __m256i * add_small(const uint8_t * chunk, int32_t n_chunks, const __m256i * w,
                                                          const int32_t width, const int32_t n_heads,
                                                          const int32_t n_halves, const bool is_short,
                                                          __m256i sum[SCAN_SUMS]) {
    const __m256i ones = _mm256_set1_epi16(1);
    const int32_t full = width == 4 ? FULL4 : FULL2, n = n_heads * n_halves;
    __m256i short_sum[SCAN_SUMS];
    if (is_short) {
        w = add_batch(chunk, n_chunks, w, width, n_heads, n_halves, short_sum);
        for (int32_t i = 0; i < n; i++) {
            sum[i] = _mm256_madd_epi16(short_sum[i], ones);
        }
        return w;
    }
    clear(sum, n);
    for (; n_chunks > 0; n_chunks -= full, chunk += full * 64) {
        w = add_batch(chunk, n_chunks < full ? n_chunks : full, w, width, n_heads, n_halves, short_sum);
        for (int32_t i = 0; i < n; i++) {
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(short_sum[i], ones));
        }
    }
    return w;
}

SCAN_TARGET VATTN_ALWAYS_INLINE const __m256i * add_products(const uint8_t * chunk, int32_t n_chunks, const __m256i * w,
                                                             const int32_t width, const int32_t n_heads,
                                                             const int32_t n_halves, const bool is_short,
                                                             __m256i sum[SCAN_SUMS]) {
    return width == 8 ? add_wide(chunk, n_chunks, w, n_heads, n_halves, sum)
                      : add_small(chunk, n_chunks, w, width, n_heads, n_halves, is_short, sum);
}

VATTN_AVX2 void vattn_scan_avx2(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                                const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld) {
    scan(codes, n_blocks, layout, query, n_heads, out, ld);
}

#else
typedef int vattn_empty_translation_unit;
#endif
