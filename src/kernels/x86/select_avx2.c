/* SPDX-License-Identifier: MIT
 *
 * Poisson sampling, 32 tokens (two blocks, eight counters) at a time.
 *
 * Philox keeps every 32-bit word in the low half of a 64-bit lane: vpmuludq gives both halves of a product at once and
 * ignores what the xors leave in the high halves, so a round of four counters is two multiplications, two shifts and
 * four xors.  Lanes hold counters 0, 2, 1, 3, so that two unpacks at the end put the words into token order.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "base/random.h"
#include "kernels/generic/generic.h"
#include "kernels/x86/probability_avx2.h"

enum { GROUP = 2 * VATTN_BLOCK };

/* Keys of the rounds in all lanes, so that no round broadcasts one. */
struct philox {
    __m256i first, c0_same, c2_same, c3_same;
    __m256i k0[VATTN_PHILOX_ROUNDS], k1[VATTN_PHILOX_ROUNDS];
};

VATTN_AVX2 static void philox_begin(struct philox * p, const struct vattn_random_key * key) {
    const struct vattn_philox same = vattn_philox_begin(key->nonce[0], key->nonce[1], key->stream, key->seed);
    p->first = _mm256_set1_epi64x((int64_t)same.first);
    p->c0_same = _mm256_set1_epi64x((int64_t)same.c0_same);
    p->c2_same = _mm256_set1_epi64x((int64_t)same.c2_same);
    p->c3_same = _mm256_set1_epi64x((int64_t)same.c3_same);
    for (int32_t round = 0; round < VATTN_PHILOX_ROUNDS; round++) {
        p->k0[round] = _mm256_set1_epi64x((int64_t)same.k0[round]);
        p->k1[round] = _mm256_set1_epi64x((int64_t)same.k1[round]);
    }
}

VATTN_AVX2 VATTN_ALWAYS_INLINE __m256i xor3(__m256i a, __m256i b, __m256i c) {
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
}

/* Words of counters base .. base + 7 in token order: word[i] belongs to tokens 8i .. 8i + 7. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void philox_words(uint32_t base, const struct philox * p, __m256i word[4]) {
    const __m256i m0 = _mm256_set1_epi64x(VATTN_PHILOX_M0);
    const __m256i m1 = _mm256_set1_epi64x(VATTN_PHILOX_M1);
    const __m256i lane = _mm256_setr_epi64x(0, 2, 1, 3);
    __m256i c0[2], c1[2], c2[2], c3[2];
    for (int32_t i = 0; i < 2; i++) {
        const __m256i counter = _mm256_add_epi32(_mm256_set1_epi64x((int64_t)(base + 4 * (uint32_t)i)), lane);
        const __m256i p0 = _mm256_mul_epu32(counter, m0);
        const __m256i p1 = _mm256_mul_epu32(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), p->first), m1);
        c0[i] = _mm256_xor_si256(_mm256_srli_epi64(p1, 32), p->c0_same);
        c1[i] = p1;
        c2[i] = _mm256_xor_si256(p0, p->c2_same);
        c3[i] = p->c3_same;
    }
    for (int32_t round = 2; round < VATTN_PHILOX_ROUNDS; round++) {
        for (int32_t i = 0; i < 2; i++) {
            const __m256i p0 = _mm256_mul_epu32(c0[i], m0);
            const __m256i p1 = _mm256_mul_epu32(c2[i], m1);
            c0[i] = xor3(_mm256_srli_epi64(p1, 32), c1[i], p->k0[round]);
            c2[i] = xor3(_mm256_srli_epi64(p0, 32), c3[i], p->k1[round]);
            c1[i] = p1;
            c3[i] = p0;
        }
    }
    for (int32_t i = 0; i < 2; i++) {
        const __m256i word01 = _mm256_blend_epi32(c0[i], _mm256_slli_epi64(c1[i], 32), 0xaa);
        const __m256i word23 = _mm256_blend_epi32(c2[i], _mm256_slli_epi64(c3[i], 32), 0xaa);
        word[2 * i] = _mm256_unpacklo_epi64(word01, word23);
        word[2 * i + 1] = _mm256_unpackhi_epi64(word01, word23);
    }
}

/* max_g (score - threshold) of 32 tokens as the negative of the least threshold - score: a difference from a score takes no load
 * of its own.  min(a, b) is b where a is a NaN. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void above_threshold(const float * score, ptrdiff_t ld, const float * threshold,
                                                    int32_t n_heads, const int8_t * bonus, __m256 x[4]) {
    __m256 below[4];
    for (int32_t i = 0; i < 4; i++) {
        below[i] = _mm256_set1_ps(126);
    }
    for (int32_t g = 0; g < n_heads; g++) {
        const __m256 t = _mm256_broadcast_ss(threshold + g);
        for (int32_t i = 0; i < 4; i++) {
            below[i] = _mm256_min_ps(_mm256_sub_ps(t, _mm256_loadu_ps(score + g * ld + 8 * i)), below[i]);
        }
    }
    for (int32_t i = 0; i < 4; i++) {
        __m256 eighths = _mm256_setzero_ps();
        if (bonus != NULL) {
            const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(bonus + 8 * i));
            eighths = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_set1_ps(0.125f));
        }
        x[i] = _mm256_sub_ps(eighths, below[i]);
    }
}

VATTN_AVX2 int32_t vattn_select_avx2(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                                     int64_t first, int32_t n_blocks, const uint16_t * visible, const uint16_t * sure,
                                     const int8_t * bonus, int32_t floor, const struct vattn_random_key * key,
                                     int32_t * rows, int32_t * prob, int32_t * draw) {
    const __m256i floor8 = _mm256_set1_epi32(floor);
    struct philox random;
    philox_begin(&random, key);
    int32_t count = 0;
    int32_t b = 0;
    for (; b + 2 <= n_blocks; b += 2) {
        uint32_t visible_bits = UINT32_MAX, sure_bits = 0;
        if (visible != NULL) {
            visible_bits = (uint32_t)visible[b] | (uint32_t)visible[b + 1] << 16;
            if (visible_bits == 0) {
                continue;
            }
        }
        if (sure != NULL) {
            sure_bits = (uint32_t)sure[b] | (uint32_t)sure[b + 1] << 16;
        }
        const float * at = score + (ptrdiff_t)b * VATTN_BLOCK;
        const int64_t token = first + (int64_t)b * VATTN_BLOCK;
        __m256 x[4];
        __m256i word[4], p[4];
        above_threshold(at, ld, threshold, n_heads, bonus != NULL ? bonus + b * VATTN_BLOCK : NULL, x);
        philox_words((uint32_t)(token / 4), &random, word);
        uint32_t taken = 0;
        for (int32_t i = 0; i < 4; i++) {
            p[i] = probability(x[i], floor8);
            const __m256i below = _mm256_cmpgt_epi32(p[i], _mm256_srli_epi32(word[i], 8));
            taken |= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(below)) << (8 * i);
        }
        taken = (taken | sure_bits) & visible_bits;
        if (taken == 0) {
            continue;
        }
        int32_t all_prob[GROUP], all_draw[GROUP];
        for (int32_t i = 0; i < 4; i++) {
            _mm256_storeu_si256((__m256i *)(void *)(all_draw + 8 * i), _mm256_srli_epi32(word[i], 8));
            _mm256_storeu_si256((__m256i *)(void *)(all_prob + 8 * i), p[i]);
        }
        do {
            const uint32_t t = (uint32_t)__builtin_ctz(taken);
            taken &= taken - 1;
            rows[count] = (int32_t)(token + t);
            prob[count] = sure_bits >> t & 1 ? VATTN_PROB_ONE : all_prob[t];
            draw[count] = sure_bits >> t & 1 ? -1 : all_draw[t];
            count++;
        } while (taken != 0);
    }
    if (b < n_blocks) {
        const ptrdiff_t rest = (ptrdiff_t)b * VATTN_BLOCK;
        count += vattn_select_generic(score + rest, ld, threshold, n_heads, first + rest, n_blocks - b,
                                      visible != NULL ? visible + b : NULL, sure != NULL ? sure + b : NULL,
                                      bonus != NULL ? bonus + rest : NULL, floor, key, rows + count, prob + count,
                                      draw + count);
    }
    return count;
}

#else
typedef int vattn_empty_translation_unit;
#endif
