/* SPDX-License-Identifier: MIT
 *
 * tr(S^2) and lambda_max of S = sum x_i x_i' from a sketch: every x_i is added with a random sign to one of 32 buckets.
 *
 *     tr(S^2) ~= sum |x_i|^4  +  (V^2 - sum |x_i|^4)  sum_{g != g'} (z_g . z_g')^2 / sum_{g != g'} |z_g|^2 |z_g'|^2,     V = tr S
 *
 * The signs make cross terms vanish on average. What the denominator says of V^2, which is known, the numerator says of tr(S^2): where all x_i
 * lie on a line both are off by half of themselves (the lengths of 32 sums of random signs), and their ratio is exact. Elsewhere it is raised
 * by the most that it can be low on average. lambda_max likewise is the sketch's share of its own trace.
 */
#ifndef VATTN_SKETCH_H
#define VATTN_SKETCH_H

#include <stdint.h>

#include "base/random.h"
#include "kernels/kernels.h"

/* bucket: [32][dim]; v = sum |x_i|^2, yy = sum |x_i|^4; V^2 if the sketch says nothing.  top: if not NULL, lambda_max of S, by the sketch. */
double vattn_sketch_trace2(const struct vattn_kernels * kern, const float * bucket, int32_t dim, double v, double yy,
                           double * top);

/* Random signs for two numbers of each of n rows: two bits of one mixed 64-bit word, independent of the sampling stream. */
void vattn_sketch_signs(uint64_t key, const int32_t * row, int32_t n, float * a, float * b);

#endif
