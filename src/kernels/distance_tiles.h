/* SPDX-License-Identifier: MIT
 *
 * `distance` of a tier that widens TILE_ROWS rows into floats and compares them with one center after the other.  Included once by
 * the tier's file, which has named the attributes of its functions (TIER) and how far ahead it prefetches (DISTANCE_AHEAD), and has
 * its own widen() and distance_tile().
 */
TIER VATTN_ALWAYS_INLINE void distance(const struct vattn_rows * rows, enum vattn_type type, const float * center,
                                       int32_t n_heads, const int32_t dim, float * dist2, ptrdiff_t ld) {
    float wide_row[TILE_ROWS * VATTN_MAX_DIM], wide_center[VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    for (int32_t j = 0; j < rows->n; j += TILE_ROWS) {
        const int32_t n_rows = rows->n - j < TILE_ROWS ? rows->n - j : TILE_ROWS;
        prefetch_rows(rows, j + DISTANCE_AHEAD, j + DISTANCE_AHEAD + TILE_ROWS, vattn_row_size(type, dim));
        for (int32_t i = 0; i < TILE_ROWS; i++) { /* the last row again, where there are fewer */
            widen(row_at(rows, j + (i < n_rows ? i : n_rows - 1)), dim, type, wide_row + (ptrdiff_t)i * width);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            const float * c = center + (ptrdiff_t)g * dim;
            float four[TILE_ROWS];
            if (width != dim) {
                widen((const char *)c, dim, VATTN_TYPE_F32, wide_center);
                c = wide_center;
            }
            distance_tile(wide_row, width, c, four);
            memcpy(dist2 + g * ld + j, four, (size_t)n_rows * sizeof *four);
        }
    }
}
