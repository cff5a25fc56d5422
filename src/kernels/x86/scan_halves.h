/* SPDX-License-Identifier: MIT
 *
 * Proxy scores from codes in vectors of 32 bytes: what the scans with and without vpdpbusd share.  A file that includes this defines
 *
 *   SCAN_TARGET     the attribute of its functions.  All functions here carry it, because none with other attributes can
 *                   be inlined into them.
 *   SCAN_SUMS       sums of a pass, 4 or 8: as many of up to four heads take both halves of a block at once as fit, more one half
 *   SCAN_WORDS8     vectors of weights that four coordinates of 8 bits have, 1 or 2
 *   add_products()  see below
 *
 * A chunk of 64 bytes is two vectors of 8 tokens x 4 coordinates, the halves of a block.  Weights lie in memory as the vectors
 * want them, in the order of use.  Sums of a pass are numbered half by half: half * n_heads + head.
 */
#ifndef VATTN_SCAN_HALVES_H
#define VATTN_SCAN_HALVES_H

#include <immintrin.h>
#include <string.h>

#include "base/rounded.h"
#include "kernels/x86/x86.h"

#define SCAN_GROUP 4 /* heads per pass over the codes */

enum { HALF = VATTN_BLOCK / 2 };

/*
 * What the heads of a pass bring along, each number in all lanes.  word: for every four coordinates one a head, of four int8;
 * if SCAN_WORDS8 is 2, those of 8 bits have two, of two int16: one a head for even coordinates, then one for odd ones.
 */
struct weights {
    __m256 offset[SCAN_GROUP], scale8[SCAN_GROUP], scale4[SCAN_GROUP], scale2[SCAN_GROUP];
    __m256i word[SCAN_GROUP * SCAN_WORDS8 * VATTN_MAX_DIM / 4];
};

/*
 * sum[half * n_heads + head] = the products of the coordinates of one class (width: bits of a code) of one half or both, whose
 * weights begin at w.  Returns where those of the next class do.
 */
SCAN_TARGET VATTN_ALWAYS_INLINE const __m256i * add_products(const uint8_t * chunk, int32_t n_chunks, const __m256i * w,
                                                             const int32_t width, const int32_t n_heads,
                                                             const int32_t n_halves, const bool is_short,
                                                             __m256i sum[SCAN_SUMS]);

SCAN_TARGET VATTN_ALWAYS_INLINE __m256i load_codes(const uint8_t * at) {
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

SCAN_TARGET VATTN_ALWAYS_INLINE void clear(__m256i sum[SCAN_SUMS], const int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        sum[i] = _mm256_setzero_si256();
    }
}

/* The codes at bit `shift` of every byte. */
SCAN_TARGET VATTN_ALWAYS_INLINE __m256i codes_at(const uint8_t * at, const int32_t shift, const int32_t width) {
    return _mm256_and_si256(_mm256_srli_epi16(load_codes(at), shift), _mm256_set1_epi8((char)((1 << width) - 1)));
}

/* score + scale * sum, two roundings */
SCAN_TARGET VATTN_ALWAYS_INLINE void add_terms(__m256 score[SCAN_SUMS], const __m256i sum[SCAN_SUMS],
                                               const __m256 * scale, const int32_t n_heads, const int32_t n_halves) {
    for (int32_t i = 0; i < n_heads * n_halves; i++) {
        __m256 term = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[i]), scale[i % n_heads]);
        VATTN_ROUNDED(term);
        score[i] = _mm256_add_ps(score[i], term);
    }
}

/* One half of a block, or both. */
SCAN_TARGET VATTN_ALWAYS_INLINE void scan_halves(const uint8_t * codes, struct vattn_code_layout layout,
                                                 const struct weights * weights, const int32_t n_heads,
                                                 const int32_t n_halves, const bool is_short, float * out,
                                                 ptrdiff_t ld) {
    const int32_t n8 = layout.n8, n4 = layout.n4, n2 = layout.n2;
    const __m256i * w = weights->word;
    __m256 score[SCAN_SUMS];
    __m256i sum[SCAN_SUMS];
    for (int32_t i = 0; i < n_heads * n_halves; i++) {
        score[i] = weights->offset[i % n_heads];
    }
    if (n8 > 0) {
        w = add_products(codes, n8 / 4, w, 8, n_heads, n_halves, is_short, sum);
        add_terms(score, sum, weights->scale8, n_heads, n_halves);
    }
    if (n4 > 0) {
        w = add_products(codes + n8 * 16, n4 / 8, w, 4, n_heads, n_halves, is_short, sum);
        add_terms(score, sum, weights->scale4, n_heads, n_halves);
    }
    if (n2 > 0) {
        add_products(codes + n8 * 16 + n4 * 8, n2 / 16, w, 2, n_heads, n_halves, is_short, sum);
        add_terms(score, sum, weights->scale2, n_heads, n_halves);
    }
    for (int32_t i = 0; i < n_heads * n_halves; i++) {
        _mm256_storeu_ps(out + i % n_heads * ld + i / n_heads * HALF, score[i]);
    }
}

SCAN_TARGET VATTN_ALWAYS_INLINE void scan_all(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                                              const struct weights * w, const int32_t n_heads, const bool is_short,
                                              float * out, ptrdiff_t ld) {
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    for (int32_t b = 0; b < n_blocks; b++, codes += block_bytes, out += VATTN_BLOCK) {
        prefetch_codes(codes, block_bytes);
        if (2 * n_heads <= SCAN_SUMS) {
            scan_halves(codes, layout, w, n_heads, 2, is_short, out, ld);
        } else {
            scan_halves(codes, layout, w, n_heads, 1, is_short, out, ld);
            scan_halves(codes + 32, layout, w, n_heads, 1, is_short, out + HALF, ld);
        }
    }
}

SCAN_TARGET VATTN_ALWAYS_INLINE void scan_heads(const uint8_t * codes, int32_t n_blocks,
                                                struct vattn_code_layout layout, const struct weights * w,
                                                const int32_t n_heads, float * out, ptrdiff_t ld) {
    if (layout.n4 <= SCAN_SHORT4 && layout.n2 <= SCAN_SHORT2) {
        scan_all(codes, n_blocks, layout, w, n_heads, true, out, ld);
    } else {
        scan_all(codes, n_blocks, layout, w, n_heads, false, out, ld);
    }
}

SCAN_TARGET VATTN_ALWAYS_INLINE __m256i in_all_lanes(int8_t a, int8_t b) {
    return _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)a | (uint32_t)(uint16_t)b << 16));
}

SCAN_TARGET static void set_weights(struct weights * w, const struct vattn_query_code * query, int32_t n_heads,
                                    struct vattn_code_layout layout) {
    __m256i * word = w->word;
    for (int32_t g = 0; g < n_heads; g++) {
        w->offset[g] = _mm256_set1_ps(query[g].offset + 0.0F); /* as if the terms of empty classes had been added */
        w->scale8[g] = _mm256_set1_ps(query[g].scale8);
        w->scale4[g] = _mm256_set1_ps(query[g].scale4);
        w->scale2[g] = _mm256_set1_ps(query[g].scale2);
    }
    for (int32_t k = 0; SCAN_WORDS8 == 2 && k < layout.n8; k += 4, word += 2 * n_heads) {
        for (int32_t g = 0; g < n_heads; g++) {
            const int8_t * weight = query[g].weight + k;
            word[g] = in_all_lanes(weight[0], weight[2]);
            word[n_heads + g] = in_all_lanes(weight[1], weight[3]);
        }
    }
    for (int32_t k = SCAN_WORDS8 == 2 ? layout.n8 : 0; k < vattn_layout_coords(layout); k += 4, word += n_heads) {
        for (int32_t g = 0; g < n_heads; g++) {
            int32_t four;
            memcpy(&four, query[g].weight + k, sizeof four);
            word[g] = _mm256_set1_epi32(four);
        }
    }
}

#include "kernels/scan_strips.h"

#endif
