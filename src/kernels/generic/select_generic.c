/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"

#include <assert.h>

#include "base/random.h"
#include "kernels/generic/probability_generic.h"

int32_t vattn_select_generic(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int64_t first,
                             int32_t n_blocks, const uint16_t * visible, const uint16_t * sure, const int8_t * bonus,
                             int32_t floor, const struct vattn_random_key * key, int32_t * rows, int32_t * prob,
                             int32_t * draw) {
    assert(first % VATTN_BLOCK == 0);
    int32_t count = 0;
    for (int32_t b = 0; b < n_blocks; b++) {
        const uint32_t visible_bits = visible != NULL ? visible[b] : 0xffffu;
        const uint32_t sure_bits = sure != NULL ? sure[b] : 0;
        if (visible_bits == 0) {
            continue;
        }
        const float * block_score = score + (ptrdiff_t)b * VATTN_BLOCK;
        const int64_t block_first = first + (int64_t)b * VATTN_BLOCK;
        uint32_t word[VATTN_BLOCK];
        for (uint32_t i = 0; i < VATTN_BLOCK / 4; i++) {
            const uint32_t counter[4] = {(uint32_t)(block_first / 4) + i, key->nonce[0], key->nonce[1], key->stream};
            vattn_philox4x32(counter, key->seed, word + 4 * i);
        }
        for (int32_t t = 0; t < VATTN_BLOCK; t++) {
            float x = -126;
            for (int32_t g = 0; g < n_heads; g++) { /* a NaN is not larger */
                const float above = block_score[g * ld + t] - threshold[g];
                x = above > x ? above : x;
            }
            x += bonus != NULL ? 0.125f * (float)bonus[VATTN_BLOCK * b + t] : 0;
            const int32_t p = vattn_probability(x, floor);
            const uint32_t is_sure = sure_bits >> t & 1;
            if ((visible_bits >> t & 1) && (is_sure || (int32_t)(word[t] >> 8) < p)) {
                rows[count] = (int32_t)(block_first + t);
                prob[count] = is_sure ? VATTN_PROB_ONE : p;
                draw[count] = is_sure ? -1 : (int32_t)(word[t] >> 8);
                count++;
            }
        }
    }
    return count;
}
