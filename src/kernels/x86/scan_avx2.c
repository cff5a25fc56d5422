/* SPDX-License-Identifier: MIT
 *
 * Proxy scores from codes.  A chunk of 64 bytes is two vectors of 8 tokens x 4 coordinates, the halves of a block.
 *   8 bits   two products of 255 * 127 would saturate vpmaddubsw, so even and odd coordinates are widened to 16 bits
 *            and vpmaddwd adds pairs in 32 bits
 *   4 bits   vpmaddubsw adds two products of at most 15 * 127: eight such pairs fit 16 bits
 *   2 bits   at most 3 * 127: forty-two pairs fit
 * The 16-bit sums are widened by a vpmaddwd with ones when they are full.
 *
 * A multiplication and an addition are all that a vector of codes takes for a head: weights lie in memory as the vectors
 * want them, in the order of use.  Sums of a pass are numbered half by half: half * n_heads + head.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "base/rounded.h"

enum {
    GROUP = 4, /* heads per pass, and sums: a head or two take both halves of a block at once, more only one */
    HALF = VATTN_BLOCK / 2,
    SCAN_AHEAD = 6144, /* bytes between the block in work and the one being prefetched */
    FULL4 = 4,         /* chunks of 4-bit codes until 16 bits are full: two pairs each */
    FULL2 = 10         /* of 2-bit codes: four pairs each */
};

/* Left alone, gcc adds products to each other before it adds them to a sum, and has no registers left for that. */
#define IN_ORDER(x) __asm__("" : "+x"(x))

/*
 * What the heads of a pass bring along, each number in all lanes.  word: for every four coordinates one a head, of four int8
 * (4 and 2 bits), or two of two int16 (8 bits: one a head of even coordinates, then one of odd ones).
 */
struct weights {
    __m256 offset[GROUP], scale8[GROUP], scale4[GROUP], scale2[GROUP];
    __m256i word[GROUP * VATTN_MAX_DIM / 2];
};

VATTN_AVX2 VATTN_ALWAYS_INLINE __m256i load_codes(const uint8_t * at) {
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void clear(__m256i sum[GROUP], const int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        sum[i] = _mm256_setzero_si256();
    }
}

/* 8-bit codes.  This and the next return where the words of the next class are. */
VATTN_AVX2 VATTN_ALWAYS_INLINE const __m256i * scan_wide(const uint8_t * chunk, int32_t n_chunks, const __m256i * w,
                                                         const int32_t n_heads, const int32_t n_halves,
                                                         __m256i sum[GROUP]) {
    const __m256i even_bytes = _mm256_set1_epi16(0xff);
    clear(sum, n_heads * n_halves);
    for (int32_t c = 0; c < n_chunks; c++, chunk += 64, w += 2 * n_heads) {
        for (int32_t half = 0; half < n_halves; half++) {
            const __m256i code = load_codes(chunk + 32 * half);
            const __m256i even = _mm256_and_si256(code, even_bytes), odd = _mm256_srli_epi16(code, 8);
            for (int32_t g = 0; g < n_heads; g++) {
                const int32_t i = half * n_heads + g;
                __m256i next = _mm256_add_epi32(sum[i], _mm256_madd_epi16(even, w[g]));
                IN_ORDER(next);
                sum[i] = _mm256_add_epi32(next, _mm256_madd_epi16(odd, w[n_heads + g]));
            }
        }
    }
    return w;
}

/* 4-bit codes (per_chunk = 2 nibbles) and 2-bit codes (per_chunk = 4 pairs of bits). */
VATTN_AVX2 VATTN_ALWAYS_INLINE const __m256i * scan_small(const uint8_t * chunk, int32_t n_chunks, const __m256i * w,
                                                          const int32_t n_heads, const int32_t n_halves,
                                                          const int32_t per_chunk, __m256i sum[GROUP]) {
    const __m256i mask = _mm256_set1_epi8(per_chunk == 2 ? 15 : 3);
    const __m256i ones = _mm256_set1_epi16(1);
    const int32_t full = per_chunk == 2 ? FULL4 : FULL2;
    clear(sum, n_heads * n_halves);
    for (int32_t c = 0; c < n_chunks;) {
        const int32_t end = n_chunks - c < full ? n_chunks : c + full;
        __m256i short_sum[GROUP];
        clear(short_sum, n_heads * n_halves);
        for (; c < end; c++, chunk += 64) {
            for (int32_t part = 0; part < per_chunk; part++, w += n_heads) {
                for (int32_t half = 0; half < n_halves; half++) {
                    const __m256i down = _mm256_srli_epi16(load_codes(chunk + 32 * half), part * 8 / per_chunk);
                    const __m256i code = _mm256_and_si256(down, mask);
                    for (int32_t g = 0; g < n_heads; g++) {
                        const int32_t i = half * n_heads + g;
                        __m256i next = _mm256_add_epi16(short_sum[i], _mm256_maddubs_epi16(code, w[g]));
                        IN_ORDER(next);
                        short_sum[i] = next;
                    }
                }
            }
        }
        for (int32_t i = 0; i < n_heads * n_halves; i++) {
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(short_sum[i], ones));
        }
    }
    return w;
}

/* score + scale * sum, two roundings */
VATTN_AVX2 VATTN_ALWAYS_INLINE void add_terms(__m256 score[GROUP], const __m256i sum[GROUP], const __m256 * scale,
                                              const int32_t n_heads, const int32_t n_halves) {
    for (int32_t i = 0; i < n_heads * n_halves; i++) {
        __m256 term = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[i]), scale[i % n_heads]);
        VATTN_ROUNDED(term);
        score[i] = _mm256_add_ps(score[i], term);
    }
}

/* One half of a block, or both. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void scan_halves(const uint8_t * codes, struct vattn_code_layout layout,
                                                const struct weights * weights, const int32_t n_heads,
                                                const int32_t n_halves, float * out, ptrdiff_t ld) {
    const int32_t n8 = layout.n8, n4 = layout.n4, n2 = layout.n2;
    const __m256i * w = weights->word;
    __m256 score[GROUP];
    __m256i sum[GROUP];
    for (int32_t i = 0; i < n_heads * n_halves; i++) {
        score[i] = weights->offset[i % n_heads];
    }
    if (n8 > 0) {
        w = scan_wide(codes, n8 / 4, w, n_heads, n_halves, sum);
        add_terms(score, sum, weights->scale8, n_heads, n_halves);
    }
    if (n4 > 0) {
        w = scan_small(codes + n8 * 16, n4 / 8, w, n_heads, n_halves, 2, sum);
        add_terms(score, sum, weights->scale4, n_heads, n_halves);
    }
    if (n2 > 0) {
        scan_small(codes + n8 * 16 + n4 * 8, n2 / 16, w, n_heads, n_halves, 4, sum);
        add_terms(score, sum, weights->scale2, n_heads, n_halves);
    }
    for (int32_t i = 0; i < n_heads * n_halves; i++) {
        _mm256_storeu_ps(out + i % n_heads * ld + i / n_heads * HALF, score[i]);
    }
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void scan_heads(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                                               const struct weights * w, const int32_t n_heads, float * out,
                                               ptrdiff_t ld) {
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    for (int32_t b = 0; b < n_blocks; b++, codes += block_bytes, out += VATTN_BLOCK) {
        const uintptr_t ahead = (uintptr_t)codes + SCAN_AHEAD;
        for (size_t line = 0; line < block_bytes; line += 64) {
            _mm_prefetch((const char *)(ahead + line), _MM_HINT_T0);
        }
        if (2 * n_heads <= GROUP) {
            scan_halves(codes, layout, w, n_heads, 2, out, ld);
        } else {
            scan_halves(codes, layout, w, n_heads, 1, out, ld);
            scan_halves(codes + 32, layout, w, n_heads, 1, out + HALF, ld);
        }
    }
}

VATTN_AVX2 VATTN_ALWAYS_INLINE __m256i in_all_lanes(int8_t a, int8_t b) {
    return _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)a | (uint32_t)(uint16_t)b << 16));
}

VATTN_AVX2 static void set_weights(struct weights * w, const struct vattn_query_code * query, int32_t n_heads,
                                   struct vattn_code_layout layout) {
    __m256i * word = w->word;
    for (int32_t g = 0; g < n_heads; g++) {
        w->offset[g] = _mm256_set1_ps(query[g].offset + 0.0F); /* as if the terms of empty classes had been added */
        w->scale8[g] = _mm256_set1_ps(query[g].scale8);
        w->scale4[g] = _mm256_set1_ps(query[g].scale4);
        w->scale2[g] = _mm256_set1_ps(query[g].scale2);
    }
    for (int32_t k = 0; k < layout.n8; k += 4, word += 2 * n_heads) {
        for (int32_t g = 0; g < n_heads; g++) {
            const int8_t * weight = query[g].weight + k;
            word[g] = in_all_lanes(weight[0], weight[2]);
            word[n_heads + g] = in_all_lanes(weight[1], weight[3]);
        }
    }
    for (int32_t k = layout.n8; k < vattn_layout_coords(layout); k += 4, word += n_heads) {
        for (int32_t g = 0; g < n_heads; g++) {
            int32_t four;
            memcpy(&four, query[g].weight + k, sizeof four);
            word[g] = _mm256_set1_epi32(four);
        }
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
                scan_heads(strip, n, layout, &w, 4, strip_out + g * ld, ld);
                break;
            case 3:
                scan_heads(strip, n, layout, &w, 3, strip_out + g * ld, ld);
                break;
            case 2:
                scan_heads(strip, n, layout, &w, 2, strip_out + g * ld, ld);
                break;
            default:
                scan_heads(strip, n, layout, &w, 1, strip_out + g * ld, ld);
            }
        }
    }
}

#else
typedef int vattn_empty_translation_unit;
#endif
