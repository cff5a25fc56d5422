/* SPDX-License-Identifier: MIT
 *
 * Weighted sums of rows: blocks of rows are widened once into a buffer that stays in L1; register tiles of 4 heads x
 * 3 vectors (or 3 x 4) hold twelve sums through all rows of the block.
 */
#include "kernels/x86/x86.h"

#if defined(__x86_64__)

#include "kernels/x86/rows_avx2.h"

/* acc[g][0 .. 8 n_vectors) += sum over n_rows rows.  At most twelve sums. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void accumulate_tile(const float * row, ptrdiff_t width, const float * weight,
                                                    ptrdiff_t ld, int32_t n_rows, const int32_t n_heads,
                                                    const int32_t n_vectors, float * acc, ptrdiff_t acc_ld) {
    __m256 sum[4][4];
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < n_vectors; v++) {
            sum[g][v] = _mm256_loadu_ps(acc + g * acc_ld + 8 * v);
        }
    }
    for (int32_t j = 0; j < n_rows; j++, row += width) {
        if (n_vectors <= n_heads) {
            __m256 x[4];
            for (int32_t v = 0; v < n_vectors; v++) {
                x[v] = _mm256_loadu_ps(row + 8 * v);
            }
            for (int32_t g = 0; g < n_heads; g++) {
                const __m256 w = _mm256_broadcast_ss(weight + g * ld + j);
                for (int32_t v = 0; v < n_vectors; v++) {
                    sum[g][v] = _mm256_fmadd_ps(w, x[v], sum[g][v]);
                }
            }
        } else {
            __m256 w[4];
            for (int32_t g = 0; g < n_heads; g++) {
                w[g] = _mm256_broadcast_ss(weight + g * ld + j);
            }
            for (int32_t v = 0; v < n_vectors; v++) {
                const __m256 x = _mm256_loadu_ps(row + 8 * v);
                for (int32_t g = 0; g < n_heads; g++) {
                    sum[g][v] = _mm256_fmadd_ps(w[g], x, sum[g][v]);
                }
            }
        }
    }
    for (int32_t g = 0; g < n_heads; g++) {
        for (int32_t v = 0; v < n_vectors; v++) {
            _mm256_storeu_ps(acc + g * acc_ld + 8 * v, sum[g][v]);
        }
    }
}

/* n_heads x n_vectors with both known to the compiler; vectors in steps of 4 heads x 3, 3 x 4, 2 x 4, 1 x 4. */
VATTN_AVX2 VATTN_ALWAYS_INLINE void accumulate_heads(const float * row, ptrdiff_t width, const float * weight,
                                                     ptrdiff_t ld, int32_t n_rows, const int32_t n_heads, float * acc,
                                                     ptrdiff_t acc_ld) {
    const int32_t step = n_heads == 4 ? 3 : 4;
    const int32_t n_vectors = (int32_t)(width / 8);
    int32_t v = 0;
    /* a remainder of one vector would leave the multipliers idle: 16 = 3 * 4 + 2 + 2 */
    for (; v + step <= n_vectors && n_vectors - v != step + 1; v += step) {
        accumulate_tile(row + 8 * v, width, weight, ld, n_rows, n_heads, step, acc + 8 * v, acc_ld);
    }
    for (; v + 2 <= n_vectors; v += 2) {
        accumulate_tile(row + 8 * v, width, weight, ld, n_rows, n_heads, 2, acc + 8 * v, acc_ld);
    }
    if (v < n_vectors) {
        accumulate_tile(row + 8 * v, width, weight, ld, n_rows, n_heads, 1, acc + 8 * v, acc_ld);
    }
}

VATTN_AVX2 static void accumulate_block(const float * row, ptrdiff_t width, const float * weight, ptrdiff_t ld,
                                        int32_t n_rows, int32_t n_heads, float * acc, ptrdiff_t acc_ld) {
    switch (n_heads) {
    case 4:
        accumulate_heads(row, width, weight, ld, n_rows, 4, acc, acc_ld);
        break;
    case 3:
        accumulate_heads(row, width, weight, ld, n_rows, 3, acc, acc_ld);
        break;
    case 2:
        accumulate_heads(row, width, weight, ld, n_rows, 2, acc, acc_ld);
        break;
    default:
        accumulate_heads(row, width, weight, ld, n_rows, 1, acc, acc_ld);
    }
}

VATTN_ALWAYS_INLINE int32_t group_size(int32_t n_left) {
    return n_left == 6 || n_left == 3 ? 3 : n_left < 4 ? n_left : 4;
}

VATTN_AVX2 VATTN_ALWAYS_INLINE void accumulate(const struct vattn_rows * rows, bool is_f16, const float * weight,
                                               ptrdiff_t ld, int32_t n_heads, int32_t dim, float * acc) {
    float wide[AVX2_BUFFER_FLOATS];
    float wide_acc[4 * VATTN_MAX_DIM];
    const int32_t width = (dim + 7) / 8 * 8;
    const int32_t block = AVX2_BUFFER_FLOATS / width < 64 ? AVX2_BUFFER_FLOATS / width : 64;
    for (int32_t j = 0; j < rows->n; j += block) {
        const int32_t n_rows = rows->n - j < block ? rows->n - j : block;
        widen_rows(rows, j, j + n_rows, dim, is_f16, wide, width);
        for (int32_t g = 0, n; g < n_heads; g += n) {
            n = group_size(n_heads - g);
            float * acc_group = acc + (ptrdiff_t)g * dim;
            if (width == dim) {
                accumulate_block(wide, width, weight + g * ld + j, ld, n_rows, n, acc_group, dim);
                continue;
            }
            for (int32_t i = 0; i < n; i++) {
                widen((const char *)(acc_group + (ptrdiff_t)i * dim), dim, false, wide_acc + (ptrdiff_t)i * width);
            }
            accumulate_block(wide, width, weight + g * ld + j, ld, n_rows, n, wide_acc, width);
            for (int32_t i = 0; i < n; i++) {
                memcpy(acc_group + (ptrdiff_t)i * dim, wide_acc + (ptrdiff_t)i * width, (size_t)dim * sizeof *acc);
            }
        }
    }
}

VATTN_AVX2 void vattn_accumulate_f16_avx2(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld,
                                          int32_t n_heads, int32_t dim, float * acc) {
    accumulate(rows, true, weight, ld, n_heads, dim, acc);
}

VATTN_AVX2 void vattn_accumulate_f32_avx2(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld,
                                          int32_t n_heads, int32_t dim, float * acc) {
    accumulate(rows, false, weight, ld, n_heads, dim, acc);
}

#else
typedef int vattn_empty_translation_unit;
#endif
