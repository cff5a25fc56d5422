/* SPDX-License-Identifier: MIT
 *
 * Poisson sampling, 64 tokens (four blocks, sixteen counters) at a time; see select_avx2.c for how Philox is laid out.
 * Lanes hold counters 0, 4, 1, 5, 2, 6, 3, 7, so that two unpacks at the end put the words into token order.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "base/random.h"
#include "kernels/x86/probability_avx512.h"

enum { GROUP_BLOCKS = 4 };

/* An operand of the instruction that uses it, where that takes one from memory. */
VATTN_AVX512 VATTN_ALWAYS_INLINE __m512i in_all_lanes(uint64_t x) {
    return _mm512_set1_epi64((int64_t)x);
}

/* Words of 4 n counters from base on: word[i] belongs to tokens 16 i .. 16 i + 15.  n = 1 or 4. */
VATTN_AVX512 VATTN_ALWAYS_INLINE void philox_words(uint32_t base, const struct vattn_philox * p, const int32_t n,
                                                   __m512i word[GROUP_BLOCKS]) {
    const int32_t n_vectors = (n + 1) / 2; /* eight counters each */
    const __m512i m0 = _mm512_set1_epi64(VATTN_PHILOX_M0);
    const __m512i m1 = _mm512_set1_epi64(VATTN_PHILOX_M1);
    const __m512i lane = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __m512i c0[2], c1[2], c2[2], c3[2];
    for (int32_t i = 0; i < n_vectors; i++) {
        const __m512i counter = _mm512_add_epi32(_mm512_set1_epi64((int64_t)(base + 8 * (uint32_t)i)), lane);
        const __m512i p0 = _mm512_mul_epu32(counter, m0);
        const __m512i p1 = _mm512_mul_epu32(_mm512_xor_si512(_mm512_srli_epi64(p0, 32), in_all_lanes(p->first)), m1);
        c0[i] = _mm512_xor_si512(_mm512_srli_epi64(p1, 32), in_all_lanes(p->c0_same));
        c1[i] = p1;
        c2[i] = _mm512_xor_si512(p0, in_all_lanes(p->c2_same));
        c3[i] = in_all_lanes(p->c3_same);
    }
    for (int32_t round = 2; round < VATTN_PHILOX_ROUNDS; round++) {
        for (int32_t i = 0; i < n_vectors; i++) { /* 0x96: a ^ b ^ c */
            const __m512i p0 = _mm512_mul_epu32(c0[i], m0);
            const __m512i p1 = _mm512_mul_epu32(c2[i], m1);
            c0[i] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c1[i], in_all_lanes(p->k0[round]), 0x96);
            c2[i] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c3[i], in_all_lanes(p->k1[round]), 0x96);
            c1[i] = p1;
            c3[i] = p0;
        }
    }
    for (int32_t i = 0; i < n_vectors; i++) {
        const __m512i word01 = _mm512_mask_blend_epi32(0xaaaa, c0[i], _mm512_slli_epi64(c1[i], 32));
        const __m512i word23 = _mm512_mask_blend_epi32(0xaaaa, c2[i], _mm512_slli_epi64(c3[i], 32));
        word[2 * i] = _mm512_unpacklo_epi64(word01, word23);
        if (2 * i + 1 < n) {
            word[2 * i + 1] = _mm512_unpackhi_epi64(word01, word23);
        }
    }
}

/* n blocks, 1 or 4; the number of tokens taken. */
VATTN_AVX512 VATTN_ALWAYS_INLINE int32_t select_blocks(const float * score, ptrdiff_t ld, const float * threshold,
                                                       int32_t n_heads, int64_t first, const int32_t n,
                                                       const uint16_t * visible, const uint16_t * sure,
                                                       const int8_t * bonus, __m512i floor,
                                                       const struct vattn_philox * random, int32_t * rows, int32_t * prob,
                                                       int32_t * draw) {
    const __m512i one = _mm512_set1_epi32(VATTN_PROB_ONE);
    const __m512i tokens = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512 x[GROUP_BLOCKS], below[GROUP_BLOCKS];
    for (int32_t i = 0; i < n; i++) {
        below[i] = _mm512_set1_ps(126);
    }
    /* -max(score - threshold): a difference from a score takes no load of its own; min(a, b) is b where a is a NaN */
    for (int32_t g = 0; g < n_heads; g++) {
        const __m512 t = _mm512_set1_ps(threshold[g]);
        for (int32_t i = 0; i < n; i++) {
            below[i] = _mm512_min_ps(_mm512_sub_ps(t, _mm512_loadu_ps(score + g * ld + VATTN_BLOCK * i)), below[i]);
        }
    }
    for (int32_t i = 0; i < n; i++) {
        __m512 eighths = _mm512_setzero_ps();
        if (bonus != NULL) {
            const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(bonus + VATTN_BLOCK * i));
            eighths = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), _mm512_set1_ps(0.125f));
        }
        x[i] = _mm512_sub_ps(eighths, below[i]);
    }
    __m512i word[GROUP_BLOCKS];
    philox_words((uint32_t)(first / 4), random, n, word);
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++) {
        const __mmask16 is_sure = sure != NULL ? sure[i] : 0;
        const __mmask16 is_visible = visible != NULL ? visible[i] : 0xffff;
        __m512i p = probability(x[i], floor);
        __m512i drawn = _mm512_srli_epi32(word[i], 8);
        __mmask16 taken = _mm512_cmplt_epi32_mask(drawn, p);
        taken = (__mmask16)((taken | is_sure) & is_visible);
        if (taken != 0) { /* sixteen are written, the caller has room */
            p = _mm512_mask_mov_epi32(p, is_sure, one);
            drawn = _mm512_mask_mov_epi32(drawn, is_sure, _mm512_set1_epi32(-1));
            const __m512i row = _mm512_add_epi32(tokens, _mm512_set1_epi32((int32_t)(first + VATTN_BLOCK * i)));
            _mm512_storeu_si512(rows + count, _mm512_maskz_compress_epi32(taken, row));
            _mm512_storeu_si512(prob + count, _mm512_maskz_compress_epi32(taken, p));
            _mm512_storeu_si512(draw + count, _mm512_maskz_compress_epi32(taken, drawn));
            count += __builtin_popcount(taken);
        }
    }
    return count;
}

VATTN_AVX512 int32_t vattn_select_avx512(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                         int64_t first, int32_t n_blocks, const uint16_t * visible,
                                         const uint16_t * sure, const int8_t * bonus, int32_t floor,
                                         const struct vattn_random_key * key, int32_t * rows, int32_t * prob,
                                         int32_t * draw) {
    const __m512i floor16 = _mm512_set1_epi32(floor);
    const struct vattn_philox random = vattn_philox_begin(key->nonce[0], key->nonce[1], key->stream, key->seed);
    int32_t count = 0;
    int32_t b = 0;
    for (; b + GROUP_BLOCKS <= n_blocks; b += GROUP_BLOCKS) {
        const ptrdiff_t at = (ptrdiff_t)b * VATTN_BLOCK;
        if (visible != NULL && (visible[b] | visible[b + 1] | visible[b + 2] | visible[b + 3]) == 0) {
            continue;
        }
        count +=
            select_blocks(score + at, ld, threshold, n_heads, first + at, GROUP_BLOCKS,
                          visible != NULL ? visible + b : NULL, sure != NULL ? sure + b : NULL,
                          bonus != NULL ? bonus + at : NULL, floor16, &random, rows + count, prob + count, draw + count);
    }
    for (; b < n_blocks; b++) {
        const ptrdiff_t at = (ptrdiff_t)b * VATTN_BLOCK;
        count += select_blocks(score + at, ld, threshold, n_heads, first + at, 1, visible != NULL ? visible + b : NULL,
                               sure != NULL ? sure + b : NULL, bonus != NULL ? bonus + at : NULL, floor16, &random,
                               rows + count, prob + count, draw + count);
    }
    return count;
}

#else
typedef int vattn_empty_translation_unit;
#endif
