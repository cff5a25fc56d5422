/* SPDX-License-Identifier: MIT
 *
 * A query head against the codes: <q, k> ~ <q, mean> + sum_a t_a (code_a - 2^(b-1) + 1/2),  t_a = <inverse_a, q> step_a.
 * Each width class gets int8 weights with one scale.  The constant uses the rounded weights, so that their rounding
 * errors multiply codes that are centred on zero.
 */
#include "index/index.h"

#include <math.h>

#include "base/sums.h"

static float class_weights(const float * t, int32_t n, int8_t * weight) {
    float top = 0.0F;
    for (int32_t a = 0; a < n; a++) {
        const float size = fabsf(t[a]);
        top = size > top ? size : top; /* fmaxf is a call */
    }
    float scale = top / 127.0F;
    for (int32_t a = 0; a < n; a++) {
        weight[a] = (int8_t)(scale > 0.0F ? lrintf(t[a] / scale) : 0);
    }
    return scale;
}

static float class_offset(const int8_t * weight, int32_t n, float scale, int bits) {
    int32_t sum = 0;
    for (int32_t a = 0; a < n; a++) {
        sum += weight[a];
    }
    return scale * (float)sum * (0.5F - (float)(1 << (bits - 1)));
}

static float code_query(const struct vattn_code_book * book, int32_t d, const float * q, const float * projected,
                        int8_t * weight, struct vattn_query_code * out) {
    float t[VATTN_MAX_DIM], sigma2 = 0.0F;
    struct vattn_code_layout l = book->layout;
    for (int32_t a = 0; a < d; a++) {
        float w = projected[a];
        sigma2 += w * w * book->error_var[a];
        t[a] = a < vattn_layout_coords(l) ? w * book->step[a] : 0.0F;
    }
    out->weight = weight;
    out->scale8 = class_weights(t, l.n8, weight);
    out->scale4 = class_weights(t + l.n8, l.n4, weight + l.n8);
    out->scale2 = class_weights(t + l.n8 + l.n4, l.n2, weight + l.n8 + l.n4);
    out->offset = vattn_dot(q, book->mean, d) + class_offset(weight, l.n8, out->scale8, 8) +
                  class_offset(weight + l.n8, l.n4, out->scale4, 4) +
                  class_offset(weight + l.n8 + l.n4, l.n2, out->scale2, 2);
    return sigma2;
}

void vattn_index_query(const struct vattn_kernels * kern, const struct vattn_code_book * book, int32_t d, const float * q,
                       int32_t n, int8_t * weight, struct vattn_query_code * out, float * sigma2) {
    float projected[VATTN_QUERIES * VATTN_MAX_DIM];
    struct vattn_rows rows = vattn_book_rows(book, book->inverse, d, 0, d);
    kern->score[book->halves ? VATTN_TYPE_F16 : VATTN_TYPE_F32](&rows, q, n, d, projected, d);
    for (int32_t i = 0; i < n; i++) {
        size_t at = (size_t)i * (size_t)d;
        sigma2[i] = code_query(book, d, q + at, projected + at, weight + at, &out[i]);
    }
}
