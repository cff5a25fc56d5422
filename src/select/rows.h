/* SPDX-License-Identifier: MIT
 *
 * Rows of the cache as floats, for building indexes.
 */
#ifndef VATTN_SELECT_ROWS_H
#define VATTN_SELECT_ROWS_H

#include <math.h>

#include "select/selector.h"

/* Element `first + d` of a row to x[d], d < dim; false if one of them is NaN or infinite. */
static inline bool vattn_row_floats(const struct vattn_rows * rows, int64_t row, enum vattn_type type, int32_t first,
                                    int32_t dim, float * x) {
    const char * at = (const char *)rows->base + (size_t)row * rows->stride;
    bool finite = true;
    for (int32_t d = 0; d < dim; d++) {
        x[d] = vattn_row_element(type, at, first + d);
        finite = finite && isfinite(x[d]);
    }
    return finite;
}

/* A whole key. */
static inline bool vattn_key_floats(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t g, int64_t row,
                                    float * x) {
    const struct vattn_rows k = vattn_k_rows(kv, g);
    return vattn_row_floats(&k, row, s->plan->opt.k_type, 0, s->plan->opt.head_dim, x);
}

/* Every key of a KV head that the index covers. */
static inline bool vattn_keys_finite(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t g) {
    float x[VATTN_MAX_DIM];
    bool finite = true;
    for (int64_t r = 0; r < s->n_keys; r++) {
        finite = vattn_key_floats(s, kv, g, r, x) && finite;
    }
    return finite;
}

#endif
