/* SPDX-License-Identifier: MIT
 *
 * Proxy scores from codes with vpdpbusd on vectors of 32 bytes (AVX-VNNI), which adds the four products of a token in 32 bits without
 * saturation: one instruction for 8 tokens x 4 coordinates of a head.
 */
#include "kernels/x86/x86.h"

#if defined(VATTN_HAVE_AVXVNNI)

#define SCAN_TARGET VATTN_AVXVNNI
#define SCAN_SUMS   8
#define SCAN_WORDS8 1
#define SCAN_SHORT4 VATTN_MAX_DIM
#define SCAN_SHORT2 VATTN_MAX_DIM

#include "kernels/x86/scan_halves.h"

SCAN_TARGET VATTN_ALWAYS_INLINE const __m256i * add_products(const uint8_t * chunk, int32_t n_chunks, const __m256i * w,
                                                             const int32_t width, const int32_t n_heads,
                                                             const int32_t n_halves, const bool is_short,
                                                             __m256i sum[SCAN_SUMS]) {
    (void)is_short;
    clear(sum, n_heads * n_halves);
    for (int32_t c = 0; c < n_chunks; c++, chunk += 64) {
        for (int32_t shift = 0; shift < 8; shift += width, w += n_heads) {
            for (int32_t half = 0; half < n_halves; half++) {
                const __m256i code = codes_at(chunk + 32 * half, shift, width);
                for (int32_t g = 0; g < n_heads; g++) {
                    __m256i next = _mm256_dpbusd_avx_epi32(sum[half * n_heads + g], code, w[g]);
                    VATTN_IN_ORDER(next);
                    sum[half * n_heads + g] = next;
                }
            }
        }
    }
    return w;
}

VATTN_AVXVNNI void vattn_scan_avxvnni(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                                      const struct vattn_query_code * query, int32_t n_heads, float * out,
                                      ptrdiff_t ld) {
    scan(codes, n_blocks, layout, query, n_heads, out, ld);
}

#else
typedef int vattn_empty_translation_unit;
#endif
