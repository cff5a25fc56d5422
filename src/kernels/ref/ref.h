/* SPDX-License-Identifier: MIT
 *
 * The definition of every kernel, in double precision and written to be read.  Tests compare all tiers with it.
 * The conditioning of a sum (sum of magnitudes) comes along where a test needs it for its error budget; NULL = unwanted.
 */
#ifndef VATTN_KERNELS_REF_H
#define VATTN_KERNELS_REF_H

#include "kernels/kernels.h"

/* Element d of row j. */
double vattn_ref_element(const struct vattn_rows * rows, enum vattn_type type, int32_t j, int32_t d);

void vattn_ref_score(const struct vattn_rows * rows, enum vattn_type type, const float * q, int32_t n_heads,
                     int32_t dim, double * out, double * magnitude, ptrdiff_t ld);
void vattn_ref_accumulate(const struct vattn_rows * rows, enum vattn_type type, const float * weight, ptrdiff_t ld,
                          int32_t n_heads, int32_t dim, double * acc, double * magnitude);
void vattn_ref_distance(const struct vattn_rows * rows, enum vattn_type type, const float * center, int32_t n_heads,
                        int32_t dim, double * dist2, ptrdiff_t ld);
void vattn_ref_offset(const struct vattn_rows * rows, const struct vattn_rows * centers, enum vattn_type type,
                      int32_t dim, double * dist2, double * out, ptrdiff_t ld);
double vattn_ref_max(const float * x, int32_t n);
double vattn_ref_exp2_sum(const float * x, double * out, int32_t n, float m);

/* Exact to the last bit: integers and single roundings only. */
void vattn_ref_scan(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                    const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld);
void vattn_ref_design(const float * score, const float * weight, ptrdiff_t ld, const float * threshold, int32_t n_heads,
                      int32_t n, float floor, double * v, double * q);
int32_t vattn_ref_select(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int64_t first,
                         int32_t n_blocks, const uint16_t * visible, const uint16_t * sure, const int8_t * bonus,
                         int32_t floor, const struct vattn_random_key * key, int32_t * rows, int32_t * prob,
                         int32_t * draw);

/* Code of one coordinate of token t in a block: the packing that kernels.h describes. */
uint32_t vattn_ref_code(const uint8_t * block, struct vattn_code_layout layout, int32_t t, int32_t coordinate);
int32_t vattn_ref_thin(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,
                       const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw, int32_t * keep,
                       int32_t * n_tail);

#endif
