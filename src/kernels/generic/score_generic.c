/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"
#include "kernels/generic/row_generic.h"

enum { LANES = 8 }; /* partial sums: shorter error chains, and the compiler may use what vectors the target has */

static float dot(const float * a, const float * b, int32_t n) {
    float sum[LANES] = {0};
    int32_t d = 0;
    for (; d + LANES <= n; d += LANES) {
        for (int32_t i = 0; i < LANES; i++) {
            sum[i] += a[d + i] * b[d + i];
        }
    }
    for (; d < n; d++) {
        sum[d % LANES] += a[d] * b[d];
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static void score(const struct vattn_rows * rows, enum vattn_type type, const float * q, int32_t n_heads, int32_t dim,
                  float * out, ptrdiff_t ld) {
    float row[VATTN_MAX_DIM];
    for (int32_t j = 0; j < rows->n; j++) {
        vattn_row_widen(rows, j, type, dim, row);
        for (int32_t g = 0; g < n_heads; g++) {
            out[g * ld + j] = dot(row, q + (ptrdiff_t)g * dim, dim);
        }
    }
}

#define DEFINE(name, type)                                                                                             \
    void vattn_score_##name##_generic(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim,   \
                                      float * out, ptrdiff_t ld) {                                                     \
        score(rows, type, q, n_heads, dim, out, ld);                                                                   \
    }
VATTN_EACH_TYPE(DEFINE)
