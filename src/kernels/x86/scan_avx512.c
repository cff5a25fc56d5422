/* SPDX-License-Identifier: MIT
 *
 * Proxy scores from codes: a chunk of 64 bytes is one vector of 16 tokens x 4 coordinates, and vpdpbusd adds the four
 * products of a token in 32 bits without saturation.  Two blocks x four heads share codes and weights.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "base/rounded.h"

enum {
    GROUP = 4,        /* heads per pass over the codes */
    SCAN_AHEAD = 8192 /* bytes between the block in work and the one being prefetched */
};

/* The count must be a literal where nothing is optimised. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512i shift_right(__m512i x, const int32_t count) {
    switch (count) {
    case 2:
        return _mm512_srli_epi16(x, 2);
    case 4:
        return _mm512_srli_epi16(x, 4);
    case 6:
        return _mm512_srli_epi16(x, 6);
    default:
        return x;
    }
}

/* sum[k][g] of one class: chunks of 8 / width words each, width bits a code */
VATTN_AVX512 VATTN_ALWAYS_INLINE void scan_class(const uint8_t * chunk, size_t block_bytes, int32_t n_chunks,
                                                 const int8_t * const * weight, int32_t first_coord,
                                                 const int32_t width, const int32_t n_blocks, const int32_t n_heads,
                                                 __m512i sum[2][GROUP]) {
    const __m512i mask = _mm512_set1_epi8((char)((1 << width) - 1));
    for (int32_t k = 0; k < n_blocks; k++) {
        for (int32_t g = 0; g < n_heads; g++) {
            sum[k][g] = _mm512_setzero_si512();
        }
    }
    int32_t coord = first_coord;
    for (int32_t c = 0; c < n_chunks; c++, chunk += 64) {
        __m512i bytes[2];
        for (int32_t k = 0; k < n_blocks; k++) {
            bytes[k] = _mm512_loadu_si512(chunk + (size_t)k * block_bytes);
            _mm_prefetch((const char *)((uintptr_t)chunk + (size_t)k * block_bytes + SCAN_AHEAD), _MM_HINT_T0);
        }
        for (int32_t shift = 0; shift < 8; shift += width, coord += 4) {
            __m512i code[2];
            for (int32_t k = 0; k < n_blocks; k++) {
                code[k] = width == 8 ? bytes[k] : _mm512_and_si512(shift_right(bytes[k], shift), mask);
            }
            for (int32_t g = 0; g < n_heads; g++) {
                int32_t word;
                memcpy(&word, weight[g] + coord, sizeof word);
                const __m512i w = _mm512_set1_epi32(word);
                for (int32_t k = 0; k < n_blocks; k++) {
                    __m512i next = _mm512_dpbusd_epi32(sum[k][g], code[k], w);
                    VATTN_IN_ORDER(next);
                    sum[k][g] = next;
                }
            }
        }
    }
}

/* score + scale * sum, two roundings */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512 add_term(__m512 score, __m512i sum, __m512 scale) {
    __m512 term = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum));
    VATTN_ROUNDED(term);
    return _mm512_add_ps(score, term);
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void scan_blocks(const uint8_t * codes, size_t block_bytes,
                                                  struct vattn_code_layout layout,
                                                  const struct vattn_query_code * query, const int8_t * const * weight,
                                                  const int32_t n_blocks, const int32_t n_heads, float * out,
                                                  ptrdiff_t ld) {
    const int32_t n8 = layout.n8, n4 = layout.n4, n2 = layout.n2;
    __m512i sum8[2][GROUP], sum4[2][GROUP], sum2[2][GROUP];
    scan_class(codes, block_bytes, n8 / 4, weight, 0, 8, n_blocks, n_heads, sum8);
    scan_class(codes + n8 * 16, block_bytes, n4 / 8, weight, n8, 4, n_blocks, n_heads, sum4);
    scan_class(codes + n8 * 16 + n4 * 8, block_bytes, n2 / 16, weight, n8 + n4, 2, n_blocks, n_heads, sum2);
    for (int32_t g = 0; g < n_heads; g++) {
        const __m512 scale8 = _mm512_set1_ps(query[g].scale8), scale4 = _mm512_set1_ps(query[g].scale4);
        const __m512 scale2 = _mm512_set1_ps(query[g].scale2);
        for (int32_t k = 0; k < n_blocks; k++) {
            __m512 score = _mm512_set1_ps(query[g].offset);
            score = add_term(score, sum8[k][g], scale8);
            score = add_term(score, sum4[k][g], scale4);
            score = add_term(score, sum2[k][g], scale2);
            _mm512_storeu_ps(out + g * ld + VATTN_BLOCK * k, score);
        }
    }
}

VATTN_AVX512 VATTN_ALWAYS_INLINE void scan_heads(const uint8_t * codes, int32_t n_blocks,
                                                 struct vattn_code_layout layout, const struct vattn_query_code * query,
                                                 const int32_t n_heads, float * out, ptrdiff_t ld) {
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    const int8_t * weight[GROUP];
    for (int32_t g = 0; g < n_heads; g++) {
        weight[g] = query[g].weight;
    }
    int32_t b = 0;
    for (; b + 2 <= n_blocks; b += 2, codes += 2 * block_bytes, out += 2 * VATTN_BLOCK) {
        scan_blocks(codes, block_bytes, layout, query, weight, 2, n_heads, out, ld);
    }
    if (b < n_blocks) {
        scan_blocks(codes, block_bytes, layout, query, weight, 1, n_heads, out, ld);
    }
}

VATTN_AVX512 void vattn_scan_avx512(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                                    const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld) {
    enum { STRIP = 64 }; /* blocks whose codes are still in L1 or L2 when the next heads come */
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    for (int32_t b = 0; b < n_blocks; b += STRIP) {
        const int32_t n = n_blocks - b < STRIP ? n_blocks - b : STRIP;
        const uint8_t * strip = codes + (size_t)b * block_bytes;
        for (int32_t g = 0; g < n_heads; g += GROUP) {
            float * strip_out = out + g * ld + (ptrdiff_t)b * VATTN_BLOCK;
            switch (n_heads - g) {
            case 1:
                scan_heads(strip, n, layout, query + g, 1, strip_out, ld);
                break;
            case 2:
                scan_heads(strip, n, layout, query + g, 2, strip_out, ld);
                break;
            case 3:
                scan_heads(strip, n, layout, query + g, 3, strip_out, ld);
                break;
            default:
                scan_heads(strip, n, layout, query + g, 4, strip_out, ld);
            }
        }
    }
}

#else
typedef int vattn_empty_translation_unit;
#endif
