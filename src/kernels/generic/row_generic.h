/* SPDX-License-Identifier: MIT
 *
 * Row access for the portable kernels: widen one row of either storage type to floats.
 */
#ifndef VATTN_ROW_GENERIC_H
#define VATTN_ROW_GENERIC_H

#include <assert.h>
#include <string.h>

#include "base/half.h"
#include "kernels/kernels.h"

static inline const char * vattn_row_at(const struct vattn_rows * rows, int32_t j) {
    const size_t row = (size_t)(rows->index != NULL ? rows->index[j] : j);
    return (const char *)rows->base + row * rows->stride;
}

static inline void vattn_row_widen(const struct vattn_rows * rows, int32_t j, bool is_f16, int32_t dim, float * out) {
    assert(dim > 0 && dim <= VATTN_MAX_DIM);
    const char * at = vattn_row_at(rows, j);
    if (!is_f16) {
        memcpy(out, at, (size_t)dim * sizeof *out);
        return;
    }
    for (int32_t d = 0; d < dim; d++) {
        uint16_t half;
        memcpy(&half, at + (size_t)d * sizeof half, sizeof half);
        out[d] = vattn_half_to_float(half);
    }
}

#endif
