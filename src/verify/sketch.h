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

/* Random sign of a row: the top bit of a mixed 64-bit word, independent of the sampling stream. */
static inline float vattn_sketch_sign(uint64_t key, int32_t row) {
    uint64_t z = vattn_mix64(key + (uint64_t)(uint32_t)row * UINT64_C(0x9E3779B97F4A7C15));
    return (z >> 63) != 0 ? -1.0F : 1.0F;
}

#endif
