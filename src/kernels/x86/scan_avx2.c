/* SPDX-License-Identifier: MIT
 *
 * Proxy scores from codes.  A chunk of 64 bytes is two vectors of 8 tokens x 4 coordinates.
 *   8 bits   two products of 255 * 127 would saturate vpmaddubsw, so even and odd coordinates are widened to 16 bits
 *            and vpmaddwd adds pairs in 32 bits
 *   4 bits   vpmaddubsw adds two products of at most 15 * 127: eight such pairs fit 16 bits
 *   2 bits   at most 3 * 127: forty-two pairs fit
 * The 16-bit sums are widened by a vpmaddwd with ones when they are full.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "base/rounded.h"

enum {
    GROUP = 4,         /* heads per pass over a block of codes: 8 sums, the rest is for codes and weights */
    SCAN_AHEAD = 6144, /* bytes between the block in work and the one being prefetched */
    FULL4 = 4,         /* chunks of 4-bit codes until 16 bits are full: two pairs each */
    FULL2 = 10         /* of 2-bit codes: four pairs each */
};

/* Weights as the vectors want them: four int8 (4 and 2 bits) or two int16 (8 bits; even, then odd) in 32 bits. */
struct weights {
    int32_t word[GROUP][VATTN_MAX_DIM / 2];
};

VATTN_AVX2 VATTN_ALWAYS_INLINE __m256i load_codes(const uint8_t * at) {
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

/* out[t] = previous + scale * sum, two roundings */
VATTN_AVX2 VATTN_ALWAYS_INLINE void add_term(__m256 * score, __m256i sum, float scale) {
    __m256 term = _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(sum));
    VATTN_ROUNDED(term);
    *score = _mm256_add_ps(*score, term);
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void scan_block8(const uint8_t * chunk, int32_t n_chunks, const struct weights * w,
                                                const int32_t n_heads, __m256i sum[GROUP][2]) {
    const __m256i even_bytes = _mm256_set1_epi16(0xff);
    for (int32_t g = 0; g < n_heads; g++) {
        sum[g][0] = sum[g][1] = _mm256_setzero_si256();
    }
    for (int32_t c = 0; c < n_chunks; c++, chunk += 64) {
        for (int32_t half = 0; half < 2; half++) {
            const __m256i code = load_codes(chunk + 32 * half);
            const __m256i even = _mm256_and_si256(code, even_bytes);
            const __m256i odd = _mm256_srli_epi16(code, 8);
            for (int32_t g = 0; g < n_heads; g++) {
                const __m256i even_weight = _mm256_set1_epi32(w->word[g][2 * c]);
                const __m256i odd_weight = _mm256_set1_epi32(w->word[g][2 * c + 1]);
                sum[g][half] = _mm256_add_epi32(sum[g][half], _mm256_add_epi32(_mm256_madd_epi16(even, even_weight),
                                                                               _mm256_madd_epi16(odd, odd_weight)));
            }
        }
    }
}

/* 4-bit codes (per_chunk = 2 nibbles) and 2-bit codes (per_chunk = 4 pairs of bits). */
VATTN_AVX2 VATTN_ALWAYS_INLINE void scan_block_small(const uint8_t * chunk, int32_t n_chunks, const struct weights * w,
                                                     int32_t first_word, const int32_t n_heads, const int32_t per_chunk,
                                                     __m256i sum[GROUP][2]) {
    const __m256i mask = _mm256_set1_epi8(per_chunk == 2 ? 15 : 3);
    const __m256i ones = _mm256_set1_epi16(1);
    const int32_t full = per_chunk == 2 ? FULL4 : FULL2;
    for (int32_t g = 0; g < n_heads; g++) {
        sum[g][0] = sum[g][1] = _mm256_setzero_si256();
    }
    for (int32_t c = 0; c < n_chunks;) {
        const int32_t end = n_chunks - c < full ? n_chunks : c + full;
        __m256i short_sum[GROUP][2];
        for (int32_t g = 0; g < n_heads; g++) {
            short_sum[g][0] = short_sum[g][1] = _mm256_setzero_si256();
        }
        for (; c < end; c++, chunk += 64) {
            const __m256i low = load_codes(chunk), high = load_codes(chunk + 32);
            for (int32_t part = 0; part < per_chunk; part++) {
                const int32_t shift = part * 8 / per_chunk;
                const __m256i code_low = _mm256_and_si256(_mm256_srli_epi16(low, shift), mask);
                const __m256i code_high = _mm256_and_si256(_mm256_srli_epi16(high, shift), mask);
                for (int32_t g = 0; g < n_heads; g++) {
                    const __m256i weight = _mm256_set1_epi32(w->word[g][first_word + per_chunk * c + part]);
                    short_sum[g][0] = _mm256_add_epi16(short_sum[g][0], _mm256_maddubs_epi16(code_low, weight));
                    short_sum[g][1] = _mm256_add_epi16(short_sum[g][1], _mm256_maddubs_epi16(code_high, weight));
                }
            }
        }
        for (int32_t g = 0; g < n_heads; g++) {
            sum[g][0] = _mm256_add_epi32(sum[g][0], _mm256_madd_epi16(short_sum[g][0], ones));
            sum[g][1] = _mm256_add_epi32(sum[g][1], _mm256_madd_epi16(short_sum[g][1], ones));
        }
    }
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void scan_heads(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                                               const struct vattn_query_code * query, const struct weights * w,
                                               const int32_t n_heads, float * out, ptrdiff_t ld) {
    const int32_t n8 = layout.n8, n4 = layout.n4, n2 = layout.n2;
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    for (int32_t b = 0; b < n_blocks; b++, codes += block_bytes, out += VATTN_BLOCK) {
        const uintptr_t ahead = (uintptr_t)codes + SCAN_AHEAD;
        for (size_t line = 0; line < block_bytes; line += 64) {
            _mm_prefetch((const char *)(ahead + line), _MM_HINT_T0);
        }
        __m256 score[GROUP][2];
        __m256i sum[GROUP][2];
        for (int32_t g = 0; g < n_heads; g++) {
            score[g][0] = score[g][1] = _mm256_set1_ps(query[g].offset);
        }
        scan_block8(codes, n8 / 4, w, n_heads, sum);
        for (int32_t g = 0; g < n_heads; g++) {
            add_term(&score[g][0], sum[g][0], query[g].scale8);
            add_term(&score[g][1], sum[g][1], query[g].scale8);
        }
        scan_block_small(codes + n8 * 16, n4 / 8, w, n8 / 2, n_heads, 2, sum);
        for (int32_t g = 0; g < n_heads; g++) {
            add_term(&score[g][0], sum[g][0], query[g].scale4);
            add_term(&score[g][1], sum[g][1], query[g].scale4);
        }
        scan_block_small(codes + n8 * 16 + n4 * 8, n2 / 16, w, n8 / 2 + n4 / 4, n_heads, 4, sum);
        for (int32_t g = 0; g < n_heads; g++) {
            add_term(&score[g][0], sum[g][0], query[g].scale2);
            add_term(&score[g][1], sum[g][1], query[g].scale2);
            _mm256_storeu_ps(out + g * ld, score[g][0]);
            _mm256_storeu_ps(out + g * ld + 8, score[g][1]);
        }
    }
}

static void set_weights(struct weights * w, const struct vattn_query_code * query, int32_t n_heads,
                        struct vattn_code_layout layout) {
    const int32_t n_coords = vattn_layout_coords(layout);
    for (int32_t g = 0; g < n_heads; g++) {
        int32_t * word = w->word[g];
        const int8_t * weight = query[g].weight;
        for (int32_t k = 0; k < layout.n8; k += 4) {
            const int16_t pairs[4] = {weight[k], weight[k + 2], weight[k + 1], weight[k + 3]};
            memcpy(word, pairs, sizeof pairs);
            word += 2;
        }
        memcpy(word, weight + layout.n8, (size_t)(n_coords - layout.n8));
    }
}

VATTN_AVX2 void vattn_scan_avx2(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                                const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld) {
    enum { STRIP = 64 }; /* blocks whose codes are still in L1 or L2 when the next heads come */
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    struct weights w;
    for (int32_t b = 0; b < n_blocks; b += STRIP) {
        const int32_t n = n_blocks - b < STRIP ? n_blocks - b : STRIP;
        const uint8_t * strip = codes + (size_t)b * block_bytes;
        float * strip_out = out + (ptrdiff_t)b * VATTN_BLOCK;
        for (int32_t g = 0; g < n_heads; g += GROUP) {
            const int32_t n_group = n_heads - g < GROUP ? n_heads - g : GROUP;
            if (b == 0 || n_heads > GROUP) {
                set_weights(&w, query + g, n_group, layout);
            }
            switch (n_group) {
            case 4:
                scan_heads(strip, n, layout, query + g, &w, 4, strip_out + g * ld, ld);
                break;
            case 3:
                scan_heads(strip, n, layout, query + g, &w, 3, strip_out + g * ld, ld);
                break;
            case 2:
                scan_heads(strip, n, layout, query + g, &w, 2, strip_out + g * ld, ld);
                break;
            default:
                scan_heads(strip, n, layout, query + g, &w, 1, strip_out + g * ld, ld);
            }
        }
    }
}

#else
typedef int vattn_empty_translation_unit;
#endif
