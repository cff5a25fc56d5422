/* SPDX-License-Identifier: MIT
 *
 * tr(S^2) and lambda_max of S = sum x_i x_i' from a sketch: every x_i is added with a random sign to one of 32 buckets.
 *
 *     tr(S^2) ~= sum |x_i|^4 + 32/31 sum_{g != g'} (z_g . z_g')^2
 *
 * The signs make cross terms vanish on average; 31/32 of all pairs meet in different buckets.
 */
#ifndef VATTN_SKETCH_H
#define VATTN_SKETCH_H

#include <stdint.h>

#include "base/random.h"
#include "kernels/kernels.h"

/* bucket: [32][dim]; yy = sum |x_i|^4.  top: if not NULL, lambda_max of the sketch's Gram matrix. */
double vattn_sketch_trace2(const struct vattn_kernels * kern, const float * bucket, int32_t dim, double yy,
                           double * top);

/* Random signs for two numbers of each of n rows: two bits of one mixed 64-bit word, independent of the sampling stream. */
void vattn_sketch_signs(uint64_t key, const int32_t * row, int32_t n, float * a, float * b);

#endif
