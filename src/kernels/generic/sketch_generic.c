/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"
#include "kernels/generic/row_generic.h"

static void sketch(const struct vattn_rows * rows, enum vattn_type type, const float * center, const float * root,
                   ptrdiff_t ld, int32_t n_heads, int32_t dim, int32_t first, float * bucket) {
    float row[VATTN_MAX_DIM];
    for (int32_t j = 0; j < rows->n; j++) {
        vattn_row_widen(rows, j, type, dim, row);
        for (int32_t g = 0; g < n_heads; g++) {
            const float * c = center + (ptrdiff_t)g * dim;
            float * b = bucket + ((ptrdiff_t)g * VATTN_BUCKETS + ((first + j) & (VATTN_BUCKETS - 1))) * dim;
            const float r = root[g * ld + j];
            for (int32_t d = 0; d < dim; d++) {
                b[d] += r * (row[d] - c[d]);
            }
        }
    }
}

#define DEFINE(name, type)                                                                                             \
    void vattn_sketch_##name##_generic(const struct vattn_rows * rows, const float * center, const float * root,       \
                                       ptrdiff_t ld, int32_t n_heads, int32_t dim, int32_t first, float * bucket) {    \
        sketch(rows, type, center, root, ld, n_heads, dim, first, bucket);                                             \
    }
VATTN_EACH_TYPE(DEFINE)
