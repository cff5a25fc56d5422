/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"
#include "kernels/generic/row_generic.h"

enum { LANES = 8 };

static void offset(const struct vattn_rows * rows, const struct vattn_rows * centers, enum vattn_type type, int32_t dim,
                   float * dist2, float * out, ptrdiff_t ld) {
    float row[VATTN_MAX_DIM], center[VATTN_MAX_DIM];
    for (int32_t j = 0; j < rows->n; j++) {
        float sum[LANES] = {0};
        vattn_row_widen(rows, j, type, dim, row);
        vattn_row_widen(centers, j, type, dim, center);
        for (int32_t d = 0; d < dim; d++) {
            row[d] -= center[d];
            sum[d % LANES] += row[d] * row[d];
        }
        dist2[j] = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
        if (out != NULL) {
            memcpy(out + j * ld, row, (size_t)dim * sizeof *out);
        }
    }
}

#define DEFINE(name, type)                                                                                             \
    void vattn_offset_##name##_generic(const struct vattn_rows * rows, const struct vattn_rows * centers, int32_t dim, \
                                       float * dist2, float * out, ptrdiff_t ld) {                                     \
        offset(rows, centers, type, dim, dist2, out, ld);                                                              \
    }
VATTN_EACH_TYPE(DEFINE)
