/* SPDX-License-Identifier: MIT
 *
 * Row access for the portable kernels: widen one row to floats.
 */
#ifndef VATTN_ROW_GENERIC_H
#define VATTN_ROW_GENERIC_H

#include <assert.h>
#include <string.h>

#include "base/row.h"
#include "kernels/kernels.h"

static inline const char * vattn_row_at(const struct vattn_rows * rows, int32_t j) {
    const size_t row = (size_t)(rows->index != NULL ? rows->index[j] : j);
    return (const char *)rows->base + row * rows->stride;
}

static inline void vattn_row_widen(const struct vattn_rows * rows, int32_t j, enum vattn_type type, int32_t dim,
                                   float * out) {
    assert(dim > 0 && dim <= VATTN_MAX_DIM);
    const char * at = vattn_row_at(rows, j);
    if (type == VATTN_TYPE_F32) {
        memcpy(out, at, (size_t)dim * sizeof *out);
        return;
    }
    for (int32_t d = 0; d < dim; d++) {
        out[d] = vattn_row_element(type, at, d);
    }
}

#endif
