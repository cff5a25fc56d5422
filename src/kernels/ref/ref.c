/* SPDX-License-Identifier: MIT */
#include "kernels/ref/ref.h"

#include <math.h>

#include "base/random.h"
#include "base/rounded.h"
#include "base/row.h"

double vattn_ref_element(const struct vattn_rows * rows, enum vattn_type type, int32_t j, int32_t d) {
    const size_t row = (size_t)(rows->index != NULL ? rows->index[j] : j);
    const char * at = (const char *)rows->base + row * rows->stride;
    return (double)vattn_row_element(type, at, d);
}

void vattn_ref_score(const struct vattn_rows * rows, enum vattn_type type, const float * q, int32_t n_heads,
                     int32_t dim, double * out, double * magnitude, ptrdiff_t ld) {
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t j = 0; j < rows->n; j++) {
            double sum = 0, absolute = 0;
            for (int32_t d = 0; d < dim; d++) {
                const double product = (double)q[g * dim + d] * vattn_ref_element(rows, type, j, d);
                sum += product;
                absolute += fabs(product);
            }
            out[g * ld + j] = sum;
            if (magnitude != NULL) {
                magnitude[g * ld + j] = absolute;
            }
        }
    }
}

void vattn_ref_accumulate(const struct vattn_rows * rows, enum vattn_type type, const float * weight, ptrdiff_t ld,
                          int32_t n_heads, int32_t dim, double * acc, double * magnitude) {
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t j = 0; j < rows->n; j++) {
            for (int32_t d = 0; d < dim; d++) {
                const double product = (double)weight[g * ld + j] * vattn_ref_element(rows, type, j, d);
                acc[g * dim + d] += product;
                if (magnitude != NULL) {
                    magnitude[g * dim + d] += fabs(product);
                }
            }
        }
    }
}

void vattn_ref_distance(const struct vattn_rows * rows, enum vattn_type type, const float * center, int32_t n_heads,
                        int32_t dim, double * dist2, ptrdiff_t ld) {
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t j = 0; j < rows->n; j++) {
            dist2[g * ld + j] = 0;
            for (int32_t d = 0; d < dim; d++) {
                const double difference = vattn_ref_element(rows, type, j, d) - (double)center[g * dim + d];
                dist2[g * ld + j] += difference * difference;
            }
        }
    }
}

void vattn_ref_offset(const struct vattn_rows * rows, const struct vattn_rows * centers, enum vattn_type type,
                      int32_t dim, double * dist2, double * out, ptrdiff_t ld) {
    for (int32_t j = 0; j < rows->n; j++) {
        dist2[j] = 0;
        for (int32_t d = 0; d < dim; d++) {
            const double difference = vattn_ref_element(rows, type, j, d) - vattn_ref_element(centers, type, j, d);
            dist2[j] += difference * difference;
            if (out != NULL) {
                out[j * ld + d] = difference;
            }
        }
    }
}

double vattn_ref_max(const float * x, int32_t n) {
    double largest = -INFINITY;
    for (int32_t j = 0; j < n; j++) {
        largest = (double)x[j] > largest ? (double)x[j] : largest;
    }
    return largest;
}

double vattn_ref_exp2_sum(const float * x, double * out, int32_t n, float m) {
    double sum = 0;
    for (int32_t j = 0; j < n; j++) {
        out[j] = x[j] == -INFINITY ? 0.0 : exp2((double)x[j] - (double)m);
        sum += out[j];
    }
    return sum;
}

uint32_t vattn_ref_code(const uint8_t * block, struct vattn_code_layout layout, int32_t t, int32_t coordinate) {
    int32_t k = coordinate;
    if (k < layout.n8) {
        return block[k / 4 * 64 + t * 4 + k % 4];
    }
    block += layout.n8 * 16;
    k -= layout.n8;
    if (k < layout.n4) {
        const uint32_t byte = block[k / 8 * 64 + t * 4 + k % 4];
        return k % 8 < 4 ? byte & 15u : byte >> 4;
    }
    block += layout.n4 * 8;
    k -= layout.n4;
    return (uint32_t)block[k / 16 * 64 + t * 4 + k % 4] >> (k % 16 / 4 * 2) & 3u;
}

void vattn_ref_scan(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                    const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld) {
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t i = 0; i < VATTN_BLOCK * n_blocks; i++) {
            const uint8_t * block = codes + (size_t)(i / VATTN_BLOCK) * block_bytes;
            int32_t sum[3] = {0, 0, 0};
            for (int32_t k = 0; k < vattn_layout_coords(layout); k++) {
                const int32_t class = k < layout.n8 ? 0 : k < layout.n8 + layout.n4 ? 1 : 2;
                sum[class] += query[g].weight[k] * (int32_t)vattn_ref_code(block, layout, i % VATTN_BLOCK, k);
            }
            float score = query[g].offset;
            const float scale[3] = {query[g].scale8, query[g].scale4, query[g].scale2};
            for (int32_t class = 0; class < 3; class ++) {
                float term = scale[class] * (float)sum[class];
                VATTN_ROUNDED(term);
                score = score + term;
            }
            out[g * ld + i] = score;
        }
    }
}

void vattn_ref_design(const float * score, const float * weight, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                      int32_t n, float least, double * v, double * q) {
    for (int32_t g = 0; g < n_heads; g++) {
        v[g] = q[g] = 0;
    }
    for (int32_t j = 0; j < n; j++) {
        double x = -126;
        for (int32_t g = 0; g < n_heads; g++) {
            const float above = score[g * ld + j] - threshold[g];
            x = (double)above > x ? (double)above : x;
        }
        x = x > 0 ? 0 : x;
        const double whole = floor(x), pi = exp2(whole) * (1 + x - whole); /* the piecewise linear 2^x */
        const double w = 1 / (pi < (double)least ? (double)least : pi) - 1;
        for (int32_t g = 0; g < n_heads; g++) {
            const double z = (double)weight[g * ld + j];
            v[g] += w * z;
            q[g] += w * w * w * z * z;
        }
    }
}

/* 2^24 times the piecewise linear 2^x, in the float steps that define it (kernels.h). */
static int32_t probability(float x, int32_t floor) {
    x = x > 0 ? 0 : x < -126 ? -126 : x;
    const float bits = x * 0x1p23f + 127 * 0x1p23f;
    const float likely = vattn_float_from_bits((uint32_t)bits);
    int32_t p = (int32_t)(likely * 0x1p24f);
    p = p < floor ? floor : p;
    return p > VATTN_PROB_ONE ? VATTN_PROB_ONE : p;
}

int32_t vattn_ref_select(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int64_t first,
                         int32_t n_blocks, const uint16_t * visible, const uint16_t * sure, const int8_t * bonus,
                         int32_t floor, const struct vattn_random_key * key, int32_t * rows, int32_t * prob,
                         int32_t * draw) {
    int32_t count = 0;
    for (int32_t i = 0; i < VATTN_BLOCK * n_blocks; i++) {
        const int64_t token = first + i;
        float x = -126;
        for (int32_t g = 0; g < n_heads; g++) { /* a NaN is not larger */
            const float above = score[g * ld + i] - threshold[g];
            x = above > x ? above : x;
        }
        x += bonus != NULL ? (float)bonus[i] / 8 : 0;
        const int32_t p = probability(x, floor);

        const uint32_t counter[4] = {(uint32_t)(token / 4), key->nonce[0], key->nonce[1], key->stream};
        uint32_t word[4];
        vattn_philox4x32(counter, key->seed, word);
        const bool is_visible = visible == NULL || (visible[i / 16] >> (i % 16) & 1);
        const bool is_sure = sure != NULL && (sure[i / 16] >> (i % 16) & 1);
        if (is_visible && (is_sure || (int32_t)(word[token & 3] >> 8) < p)) {
            rows[count] = (int32_t)token;
            prob[count] = is_sure ? VATTN_PROB_ONE : p;
            draw[count] = is_sure ? -1 : (int32_t)(word[token & 3] >> 8);
            count++;
        }
    }
    return count;
}

int32_t vattn_ref_thin(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,
                       const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw, int32_t * keep,
                       int32_t * n_tail) {
    int32_t count = 0;
    for (int32_t j = 0; j < n; j++) {
        float x = -126;
        for (int32_t g = 0; g < n_heads; g++) { /* a NaN is not larger */
            const float above = score[g * ld + j] - threshold[g];
            x = above > x ? above : x;
        }
        const int32_t p = probability(x + (float)bonus[j] / 8, prob[j] / (1 << shift));
        if (draw[j] >= 0 && p < prob[j]) {
            prob[j] = p;
        }
    }
    for (int32_t kind = 0; kind < 2; kind++) { /* 0: may not have been drawn */
        for (int32_t j = 0; j < n; j++) {
            const bool certain = draw[j] < 0 || prob[j] == VATTN_PROB_ONE;
            if (certain == (kind == 1) && draw[j] < prob[j]) {
                keep[count++] = j;
            }
        }
        *n_tail = kind == 0 ? count : *n_tail;
    }
    return count;
}
