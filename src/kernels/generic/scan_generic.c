/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"

#include "base/rounded.h"

/* sum[t] += weight[j] * (bits [shift, shift + width) of byte t * 4 + j), j = 0..3 */
static void add_four(int32_t * sum, const uint8_t * chunk, const int8_t * weight, int32_t shift, int32_t mask) {
    for (int32_t t = 0; t < VATTN_BLOCK; t++) {
        const uint8_t * code = chunk + t * 4;
        sum[t] += weight[0] * ((code[0] >> shift) & mask) + weight[1] * ((code[1] >> shift) & mask) +
                  weight[2] * ((code[2] >> shift) & mask) + weight[3] * ((code[3] >> shift) & mask);
    }
}

/* One class of coordinates, 32 / width of them in a chunk.  A class without coordinates adds nothing. */
static void add_class(float * out, const uint8_t * chunk, const int8_t * weight, int32_t n_coords, int32_t width,
                      float scale) {
    int32_t sum[VATTN_BLOCK] = {0};
    for (int32_t k = 0; k < n_coords; k += 32 / width, chunk += 64) {
        for (int32_t shift = 0; shift < 8; shift += width, weight += 4) {
            add_four(sum, chunk, weight, shift, (1 << width) - 1);
        }
    }
    float term[VATTN_BLOCK];
    for (int32_t t = 0; t < VATTN_BLOCK; t++) {
        term[t] = scale * (float)sum[t];
    }
    VATTN_ROUNDED_ARRAY(term);
    for (int32_t t = 0; t < VATTN_BLOCK; t++) {
        out[t] = out[t] + term[t];
    }
}

void vattn_scan_generic(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                        const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld) {
    const int32_t n8 = layout.n8, n4 = layout.n4, n2 = layout.n2;
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    for (int32_t b = 0; b < n_blocks; b++) {
        const uint8_t * block = codes + (size_t)b * block_bytes;
        for (int32_t g = 0; g < n_heads; g++) {
            const struct vattn_query_code * query_g = query + g;
            float * score = out + g * ld + (ptrdiff_t)b * VATTN_BLOCK;
            for (int32_t t = 0; t < VATTN_BLOCK; t++) {
                score[t] = query_g->offset;
            }
            add_class(score, block, query_g->weight, n8, 8, query_g->scale8);
            add_class(score, block + n8 * 16, query_g->weight + n8, n4, 4, query_g->scale4);
            add_class(score, block + n8 * 16 + n4 * 8, query_g->weight + n8 + n4, n2, 2, query_g->scale2);
        }
    }
}
