/* SPDX-License-Identifier: MIT
 * What attention is, in double precision: the judge of every other answer in this repository. */
#ifndef VATTN_TOOLS_TRUTH_H
#define VATTN_TOOLS_TRUTH_H

#include "capture_file.h"

/* Of one step of a capture. */
struct truth {
    double * out;   /* [n_heads][v_dim] softmax(scale <q, k>) v over the first n[step] rows */
    double * log_d; /* [n_heads] ln sum exp(scale <q, k>) */
    double * tail;  /* [n_heads] share of the softmax that lies outside its largest n / 20 rows: what a head is like */
};

struct truth truth_attend(const struct capture * capture, int32_t step, int threads);
void truth_free(struct truth * truth);

/* ||factor answer - truth|| / ||truth||; 0 if both are zero, infinite if only the truth is or if the answer holds a NaN. */
double truth_relative_error(const float * answer, double factor, const double * truth, int64_t length);

#endif
