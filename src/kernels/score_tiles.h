/* SPDX-License-Identifier: MIT
 *
 * `score` of a tier with tiles of a few rows by up to four heads, whose vectors are eight wide.  Included once by the tier's file, which
 * has named the attributes of its functions (TIER), how many rows a tile has beside four, three and fewer heads (TILE_ROWS_...),
 * BLOCK_ROWS, a common multiple of them, how many rows ahead it prefetches (SCORE_AHEAD), and has its own widen(), widen_rows() and
 *
 *     score_tile(row, ahead, type, q, q_ld, n_rows, n_heads, width, out, ld)
 *         out[g][j] = <q_g, row_j> over width elements, a multiple of 8; ahead: rows to prefetch meanwhile, or NULL
 */

/* All n_rows <= BLOCK_ROWS rows against n_heads heads, tile_rows at a time. */
TIER VATTN_ALWAYS_INLINE void score_tiles(const char * const * row, const char * const * ahead, enum vattn_type type,
                                          const float * q, ptrdiff_t q_ld, int32_t n_rows, const int32_t tile_rows,
                                          const int32_t n_heads, int32_t width, float * out, ptrdiff_t ld) {
    int32_t j = 0;
    for (; j + tile_rows <= n_rows; j += tile_rows) {
        score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, tile_rows, n_heads, width, out + j, ld);
    }
    for (; j < n_rows; j++) {
        score_tile(row + j, ahead != NULL ? ahead + j : NULL, type, q, q_ld, 1, n_heads, width, out + j, ld);
    }
}

/* All n_rows <= BLOCK_ROWS rows against n_heads <= 4 heads. */
TIER VATTN_ALWAYS_INLINE void score_heads(const char * const * row, const char * const * ahead, enum vattn_type type,
                                          const float * q, ptrdiff_t q_ld, int32_t n_rows, int32_t n_heads,
                                          int32_t width, float * out, ptrdiff_t ld) {
    switch (n_heads) {
    case 4:
        score_tiles(row, ahead, type, q, q_ld, n_rows, TILE_ROWS_4, 4, width, out, ld);
        break;
    case 3:
        score_tiles(row, ahead, type, q, q_ld, n_rows, TILE_ROWS_3, 3, width, out, ld);
        break;
    case 2:
        score_tiles(row, ahead, type, q, q_ld, n_rows, TILE_ROWS_FEW, 2, width, out, ld);
        break;
    default:
        score_tiles(row, ahead, type, q, q_ld, n_rows, TILE_ROWS_FEW, 1, width, out, ld);
    }
}

/* dim is a multiple of 8; rows are widened as they are multiplied, once per group of heads: that costs less than a copy, where
 * a store per vector takes as long as two multiplications. */
TIER VATTN_ALWAYS_INLINE void score(const struct vattn_rows * rows, enum vattn_type type, const float * q,
                                    int32_t n_heads, const int32_t dim, float * out, ptrdiff_t ld) {
    if (rows->index != NULL) { /* nobody has prefetched the first rows */
        prefetch_rows(rows, 0, SCORE_AHEAD, vattn_row_size(type, dim));
    }
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        const int32_t n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
        const char *row[BLOCK_ROWS], *ahead[BLOCK_ROWS];
        for (int32_t i = 0; i < n_rows; i++) {
            row[i] = row_at(rows, j + i);
            ahead[i] = row_ahead(rows, j + i, SCORE_AHEAD);
        }
        for (int32_t g = 0, n; g < n_heads; g += n) {
            n = group_size(n_heads - g);
            if (g == 0) { /* evenly between the multiplications: a burst of prefetches holds up the loads behind it */
                score_heads(row, ahead, type, q, dim, n_rows, n, dim, out + j, ld);
            } else {
                score_heads(row, NULL, type, q + (ptrdiff_t)g * dim, dim, n_rows, n, dim, out + g * ld + j, ld);
            }
        }
    }
}

/* Any dim: copies of rows and queries with zeros up to a multiple of 8. */
TIER static void score_ragged(const struct vattn_rows * rows, enum vattn_type type, const float * q, int32_t n_heads,
                              int32_t dim, float * out, ptrdiff_t ld) {
    float wide_row[BLOCK_ROWS * VATTN_MAX_DIM];
    float wide_q[4 * VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        const int32_t n_rows = rows->n - j < BLOCK_ROWS ? rows->n - j : BLOCK_ROWS;
        const char * row[BLOCK_ROWS];
        widen_rows(rows, j, j + n_rows, dim, type, wide_row, width);
        for (int32_t i = 0; i < n_rows; i++) {
            row[i] = (const char *)(wide_row + (ptrdiff_t)i * width);
        }
        for (int32_t g = 0, n; g < n_heads; g += n) {
            n = group_size(n_heads - g);
            for (int32_t i = 0; i < n; i++) {
                widen((const char *)(q + (ptrdiff_t)(g + i) * dim), dim, VATTN_TYPE_F32, wide_q + (ptrdiff_t)i * width);
            }
            score_heads(row, NULL, VATTN_TYPE_F32, wide_q, width, n_rows, n, width, out + g * ld + j, ld);
        }
    }
}
