/* SPDX-License-Identifier: MIT
 * What attention is, in double precision: the judge of every other answer in this repository. */
#ifndef VATTN_TOOLS_TRUTH_H
#define VATTN_TOOLS_TRUTH_H

#include "capture_file.h"

/* out [n_heads][v_dim] = softmax(scale <q, k>) v over the first n[step] rows. */
void truth_attend(const struct capture * capture, int32_t step, int threads, double * out);

/* ||answer - truth|| / ||truth||; 0 if both are zero, infinite if only the truth is or if answer holds a NaN. */
double truth_relative_error(const float * answer, const double * truth, int64_t length);

#endif
