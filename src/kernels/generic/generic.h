/* SPDX-License-Identifier: MIT
 *
 * The portable tier.  It is also what a faster tier may call for shapes or remainders that it does not care about.
 */
#ifndef VATTN_KERNELS_GENERIC_H
#define VATTN_KERNELS_GENERIC_H

#include "kernels/kernels.h"

VATTN_DECLARE_ROWS(generic);
float vattn_max_generic(const float * x, int32_t n);
float vattn_exp2_sum_generic(float * x, int32_t n, float m);
void vattn_design_generic(const float * score, const float * weight, ptrdiff_t ld, const float * threshold,
                          int32_t n_heads, int32_t n, float floor, float * v, float * q);
void vattn_scan_generic(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                        const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld);
int32_t vattn_select_generic(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int64_t first,
                             int32_t n_blocks, const uint16_t * visible, const uint16_t * sure, const int8_t * bonus,
                             int32_t floor, const struct vattn_random_key * key, int32_t * rows, int32_t * prob,
                             int32_t * draw);
int32_t vattn_thin_generic(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,
                           const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw, int32_t * keep,
                           int32_t * n_tail);

#endif
