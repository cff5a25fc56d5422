/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"
#include "kernels/generic/row_generic.h"

enum { LANES = 8 };

static void distance(const struct vattn_rows * rows, enum vattn_type type, const float * center, int32_t n_heads,
                     int32_t dim, float * dist2, ptrdiff_t ld) {
    float row[VATTN_MAX_DIM];
    for (int32_t j = 0; j < rows->n; j++) {
        vattn_row_widen(rows, j, type, dim, row);
        for (int32_t g = 0; g < n_heads; g++) {
            const float * c = center + (ptrdiff_t)g * dim;
            float sum[LANES] = {0};
            for (int32_t d = 0; d < dim; d++) {
                const float difference = row[d] - c[d];
                sum[d % LANES] += difference * difference;
            }
            dist2[g * ld + j] = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
        }
    }
}

#define DEFINE(name, type)                                                                                             \
    void vattn_distance_##name##_generic(const struct vattn_rows * rows, const float * center, int32_t n_heads,        \
                                         int32_t dim, float * dist2, ptrdiff_t ld) {                                   \
        distance(rows, type, center, n_heads, dim, dist2, ld);                                                         \
    }
VATTN_EACH_TYPE(DEFINE)
