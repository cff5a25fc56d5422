/* SPDX-License-Identifier: MIT
 *
 * What the vector tiers share: attributes, the declarations of a table's functions, addresses of rows, prefetching.
 */
#ifndef VATTN_KERNELS_TIER_H
#define VATTN_KERNELS_TIER_H

#include "base/row.h"
#include "kernels/kernels.h"

#define VATTN_ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define VATTN_UNROLL(n) VATTN_PRAGMA(unroll n)
#else
#define VATTN_UNROLL(n) VATTN_PRAGMA(GCC unroll n)
#endif
#define VATTN_PRAGMA(text) _Pragma(#text)

#define VATTN_DECLARE_TIER(tier)                                                                                       \
    VATTN_DECLARE_ROWS(tier);                                                                                          \
    float vattn_max_##tier(const float * x, int32_t n);                                                                \
    float vattn_exp2_sum_##tier(float * x, int32_t n, float m);                                                        \
    void vattn_design_##tier(const float * score, const float * weight, ptrdiff_t ld, const float * threshold,         \
                             int32_t n_heads, int32_t n, float floor, float * v, float * q);                           \
    void vattn_scan_##tier(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,                   \
                           const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld);         \
    int32_t vattn_select_##tier(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads,           \
                                int64_t first, int32_t n_blocks, const uint16_t * visible, const uint16_t * sure,      \
                                const int8_t * bonus, int32_t floor, const struct vattn_random_key * key,              \
                                int32_t * rows, int32_t * prob, int32_t * draw);                                       \
    int32_t vattn_thin_##tier(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,  \
                              const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw,               \
                              int32_t * keep, int32_t * n_tail)

VATTN_ALWAYS_INLINE const char * row_at(const struct vattn_rows * rows, int32_t j) {
    const size_t row = (size_t)(rows->index != NULL ? rows->index[j] : j);
    return (const char *)rows->base + row * rows->stride;
}

/* What to prefetch during row j: what the caller names, or row j + ahead.  Contiguous rows go on in the next call,
 * gathered ones end. */
VATTN_ALWAYS_INLINE const char * row_ahead(const struct vattn_rows * rows, int32_t j, int32_t ahead) {
    if (rows->ahead != NULL) {
        return (const char *)((uintptr_t)rows->ahead + (uintptr_t)j * rows->ahead_stride);
    }
    if (rows->index == NULL) {
        return (const char *)((uintptr_t)rows->base + (uintptr_t)(j + ahead) * rows->stride);
    }
    return row_at(rows, j + ahead < rows->n ? j + ahead : rows->n - 1);
}

/* Into L2 (locality 2): rows of one of 8 heads of 128 lie 2 KiB apart, and of those L1 holds only sixteen (two sets). */
VATTN_ALWAYS_INLINE void prefetch_row(const struct vattn_rows * rows, int32_t j, size_t row_bytes) {
    const size_t row = (size_t)(rows->index != NULL ? rows->index[j] : j);
    const uintptr_t at = (uintptr_t)rows->base + row * rows->stride;
    for (uintptr_t line = at & ~(uintptr_t)63; line < at + row_bytes; line += 64) {
        __builtin_prefetch((const void *)line, 0, 2);
    }
}

/* Elements d .. d + 31 of a row that may not exist; d is a multiple of 32. */
VATTN_ALWAYS_INLINE void prefetch_32(const char * row, enum vattn_type type, int32_t d) {
    const uintptr_t at = (uintptr_t)row + vattn_row_size(type, d);
    __builtin_prefetch((const void *)at, 0, 2);
    if (type == VATTN_TYPE_F32) {
        __builtin_prefetch((const void *)(at + 64), 0, 2);
    }
}

/* Prefetch rows [begin, end).  Contiguous rows are prefetched past the last one, for the next call. */
VATTN_ALWAYS_INLINE void prefetch_rows(const struct vattn_rows * rows, int32_t begin, int32_t end, size_t row_bytes) {
    for (int32_t j = begin; j < end; j++) {
        if (rows->index != NULL && j >= rows->n) {
            return;
        }
        prefetch_row(rows, j, row_bytes);
    }
}

/* Prefetch a block of codes some blocks ahead of the one in work. */
VATTN_ALWAYS_INLINE void prefetch_codes(const uint8_t * codes, size_t block_bytes) {
    enum { AHEAD = 6144 }; /* bytes; may lie behind the codes */
    const uintptr_t ahead = (uintptr_t)codes + AHEAD;
    for (size_t line = 0; line < block_bytes; line += 64) {
        __builtin_prefetch((const void *)(ahead + line), 0, 3);
    }
}

/* Heads in groups of 4 and 3: 5 = 4 + 1, 6 = 3 + 3, 7 = 4 + 3. */
VATTN_ALWAYS_INLINE int32_t group_size(int32_t n_left) {
    return n_left == 6 || n_left == 3 ? 3 : n_left < 4 ? n_left : 4;
}

/* The public functions of `distance` of a tier, from an inlined one: usual dimensions are known to the compiler. */
#define VATTN_DEFINE_DISTANCE(attributes, name, type, tier)                                                            \
    attributes void vattn_distance_##name##_##tier(const struct vattn_rows * rows, const float * center,               \
                                                   int32_t n_heads, int32_t dim, float * dist2, ptrdiff_t ld) {        \
        if (dim == 128) {                                                                                              \
            distance(rows, type, center, n_heads, 128, dist2, ld);                                                     \
        } else if (dim == 64) {                                                                                        \
            distance(rows, type, center, n_heads, 64, dist2, ld);                                                      \
        } else {                                                                                                       \
            distance(rows, type, center, n_heads, dim, dist2, ld);                                                     \
        }                                                                                                              \
    }

/* The public functions of `offset` of a tier, from an inlined one: usual dimensions are known to the compiler where no differences
 * are stored, except of f32 rows, which caches seldom have. */
#define VATTN_DEFINE_OFFSET(attributes, name, type, tier)                                                              \
    attributes void vattn_offset_##name##_##tier(const struct vattn_rows * rows, const struct vattn_rows * centers,    \
                                                 int32_t dim, float * dist2, float * out, ptrdiff_t ld) {              \
        if (out != NULL || (type) == VATTN_TYPE_F32) {                                                                 \
            offset(rows, centers, type, dim, dist2, out, ld);                                                          \
        } else if (dim == 128) {                                                                                       \
            offset(rows, centers, type, 128, dist2, NULL, ld);                                                         \
        } else if (dim == 64) {                                                                                        \
            offset(rows, centers, type, 64, dist2, NULL, ld);                                                          \
        } else {                                                                                                       \
            offset(rows, centers, type, dim, dist2, NULL, ld);                                                         \
        }                                                                                                              \
    }

#endif
