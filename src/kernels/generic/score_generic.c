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

static void score(const struct vattn_rows * rows, bool is_f16, const float * q, int32_t n_heads, int32_t dim,
                  float * out, ptrdiff_t ld) {
    float row[VATTN_MAX_DIM];
    for (int32_t j = 0; j < rows->n; j++) {
        vattn_row_widen(rows, j, is_f16, dim, row);
        for (int32_t g = 0; g < n_heads; g++) {
            out[g * ld + j] = dot(row, q + (ptrdiff_t)g * dim, dim);
        }
    }
}

void vattn_score_f16_generic(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim, float * out,
                             ptrdiff_t ld) {
    score(rows, true, q, n_heads, dim, out, ld);
}

void vattn_score_f32_generic(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim, float * out,
                             ptrdiff_t ld) {
    score(rows, false, q, n_heads, dim, out, ld);
}
