/* SPDX-License-Identifier: MIT
 *
 * `accumulate` of a tier with tiles of at most twelve vectors of eight: rows in blocks that stay in L1, and while a tile works on a
 * column of a block it prefetches that column of the next one.  Included once by the tier's file, which has named the attributes of
 * its functions (TIER) and has its own widen(), widen_rows() and
 *
 *     accumulate_tile(block, type, d, prefetch, weight, ld, n_heads, n_vectors, acc, acc_ld)
 *         acc[g][0 .. 8 n_vectors) += sum over the rows of the block, from element d on
 */
/* All columns: 3 vectors at a time for four heads, else 4; a rest of one vector is avoided (16 = 4 * 3 + 2 + 2). */
TIER VATTN_ALWAYS_INLINE void accumulate_heads(const struct block * block, enum vattn_type type, bool prefetch,
                                               const float * weight, ptrdiff_t ld, const int32_t n_heads, int32_t width,
                                               float * acc) {
    const int32_t step = n_heads == 4 ? 3 : 4;
    const int32_t n_vectors = width / 8;
    int32_t v = 0;
    for (; v + step <= n_vectors && n_vectors - v != step + 1; v += step) {
        accumulate_tile(block, type, 8 * v, prefetch, weight, ld, n_heads, step, acc + 8 * v, width);
    }
    for (; v + 2 <= n_vectors; v += 2) {
        accumulate_tile(block, type, 8 * v, prefetch, weight, ld, n_heads, 2, acc + 8 * v, width);
    }
    if (v < n_vectors) {
        accumulate_tile(block, type, 8 * v, prefetch, weight, ld, n_heads, 1, acc + 8 * v, width);
    }
}

/* One block against all heads; width is the dim of rows and acc, a multiple of 8.  Only the first group prefetches. */
TIER VATTN_ALWAYS_INLINE void accumulate_block(const struct block * block, enum vattn_type type, const float * weight,
                                               ptrdiff_t ld, int32_t n_heads, int32_t width, float * acc) {
    for (int32_t g = 0, n; g < n_heads; g += n) {
        n = group_size(n_heads - g);
        float * acc_group = acc + (ptrdiff_t)g * width;
        const float * w = weight + g * ld;
        switch (n) {
        case 4:
            accumulate_heads(block, type, g == 0, w, ld, 4, width, acc_group);
            break;
        case 3:
            accumulate_heads(block, type, g == 0, w, ld, 3, width, acc_group);
            break;
        case 2:
            accumulate_heads(block, type, g == 0, w, ld, 2, width, acc_group);
            break;
        default:
            accumulate_heads(block, type, g == 0, w, ld, 1, width, acc_group);
        }
    }
}

TIER VATTN_ALWAYS_INLINE void accumulate(const struct vattn_rows * rows, enum vattn_type type, const float * weight,
                                         ptrdiff_t ld, int32_t n_heads, const int32_t dim, float * acc) {
    struct block block;
    if (rows->index != NULL) { /* nobody has prefetched the first block */
        prefetch_rows(rows, 0, BLOCK_ROWS, vattn_row_size(type, dim));
    }
    for (int32_t j = 0; j < rows->n; j += BLOCK_ROWS) {
        block_set(&block, rows, j);
        accumulate_block(&block, type, weight + j, ld, n_heads, dim, acc);
    }
}

/* Any dim: copies with zeros up to a multiple of 8; a few rows at a time and one head after the other. */
TIER static void accumulate_ragged(const struct vattn_rows * rows, enum vattn_type type, const float * weight,
                                   ptrdiff_t ld, int32_t n_heads, int32_t dim, float * acc) {
    enum { FEW_ROWS = 8 };
    float wide[FEW_ROWS * VATTN_MAX_DIM], wide_acc[VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    struct block block;
    for (int32_t j = 0; j < rows->n; j += FEW_ROWS) {
        block.n_rows = rows->n - j < FEW_ROWS ? rows->n - j : FEW_ROWS;
        widen_rows(rows, j, j + block.n_rows, dim, type, wide, width);
        for (int32_t i = 0; i < block.n_rows; i++) {
            block.row[i] = block.next[i] = (const char *)(wide + (ptrdiff_t)i * width);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            widen((const char *)(acc + (ptrdiff_t)g * dim), dim, VATTN_TYPE_F32, wide_acc);
            accumulate_heads(&block, VATTN_TYPE_F32, false, weight + g * ld + j, ld, 1, width, wide_acc);
            memcpy(acc + (ptrdiff_t)g * dim, wide_acc, (size_t)dim * sizeof *acc);
        }
    }
}
