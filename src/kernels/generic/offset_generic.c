/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"
#include "kernels/generic/row_generic.h"

enum { LANES = 8 };

static void offset(const struct vattn_rows * rows, const struct vattn_rows * centers, bool is_f16, int32_t dim,
                   float * dist2, float * out, ptrdiff_t ld) {
    float row[VATTN_MAX_DIM], center[VATTN_MAX_DIM];
    for (int32_t j = 0; j < rows->n; j++) {
        float sum[LANES] = {0};
        vattn_row_widen(rows, j, is_f16, dim, row);
        vattn_row_widen(centers, j, is_f16, dim, center);
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

void vattn_offset_f16_generic(const struct vattn_rows * rows, const struct vattn_rows * centers, int32_t dim,
                              float * dist2, float * out, ptrdiff_t ld) {
    offset(rows, centers, true, dim, dist2, out, ld);
}

void vattn_offset_f32_generic(const struct vattn_rows * rows, const struct vattn_rows * centers, int32_t dim,
                              float * dist2, float * out, ptrdiff_t ld) {
    offset(rows, centers, false, dim, dist2, out, ld);
}
