/* SPDX-License-Identifier: MIT */
#include "sparse/sparse.h"

#include <string.h>

/* Kind and distance in one byte (index.h). */
static void unpack(const uint8_t * packed, const int8_t * bonus, const int32_t * rows, int32_t n, int8_t * off, int32_t * kind) {
    for (int32_t j = 0; j < n; j++) {
        const uint8_t byte = packed[rows[j]];
        off[j] = (int8_t)(bonus[rows[j]] - byte / VATTN_PACKED_KINDS * 4);
        kind[j] = byte % VATTN_PACKED_KINDS;
    }
}

void vattn_sparse_look_up(const struct vattn_call * c, int32_t g, const int32_t * rows, int32_t n, int8_t * off, int32_t * kind) {
    const struct vattn_index * x = c->in.index;
    const size_t first = (size_t)g * (size_t)x->capacity;
    if (x->kinds != NULL && x->off == NULL) {
        unpack(x->kind + first, x->bonus + first, rows, n, off, kind);
        return;
    }
    const int8_t * all = (x->kinds != NULL ? x->off : x->bonus) + first;
    for (int32_t j = 0; j < n; j++) {
        off[j] = all[rows[j]];
    }
    if (x->kinds == NULL) {
        memset(kind, 0, (size_t)n * sizeof *kind);
        return;
    }
    for (int32_t j = 0; j < n; j++) {
        kind[j] = x->kind[first + (size_t)rows[j]];
    }
}
