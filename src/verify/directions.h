/* SPDX-License-Identifier: MIT
 *
 * tr(S^2) and lambda_max of S = sum x_i x_i' from a few of the x_i, picked with probabilities |x_i|^2 / V, V = tr S.
 *
 *     tr(S^2) = sum_{i,j} |x_i|^2 |x_j|^2 cos^2(x_i, x_j)
 *             <= sum_rows y^2  +  (V^2 - sum_rows y^2)  E[ cos^2 of two picks of different rows ]
 *
 * y the sum of |x|^2 over the vectors of one row, whose cosines are taken for 1.  Where all x_i lie on a line every cosine is 1 and the
 * estimate is exact, whatever was picked.  lambda_max is that of the mean of x x' / |x|^2 over the picks, which is not below the
 * truth on average.
 */
#ifndef VATTN_DIRECTIONS_H
#define VATTN_DIRECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"

#define VATTN_PICKS 32

struct vattn_directions {
    double share; /* mean squared cosine of picks of different rows; 1 if there are none */
    double top;   /* lambda_max / V, if it was asked for; else 1 */
};

/* x: [n][dim] vectors of length 1, n <= VATTN_PICKS, row: where they come from, picks of one row side by side. */
struct vattn_directions vattn_directions_of(const struct vattn_kernels * kern, const float * x, const int32_t * row,
                                            int32_t n, int32_t dim, bool want_top);

/*
 * Systematic sampling: the positions of every step-th unit of the running sum of y, which goes on from *sum over several calls; the first
 * is at *next.  Returns how many, at most `room`.  A y above the step is picked more than once.
 */
int32_t vattn_directions_pick(const float * y, int32_t n, double step, double * sum, double * next, int32_t * pick, int32_t room);

#endif
