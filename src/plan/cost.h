/* SPDX-License-Identifier: MIT
 *
 * What the parts of a call cost, in nanoseconds of one thread: enough to say which of two ways is shorter.
 */
#ifndef VATTN_COST_H
#define VATTN_COST_H

#include "vattn.h"
#include "kernels/kernels.h"

/* Of one KV head and all query heads of its group: for a row, */
struct vattn_cost {
    double dense; /* its key and value as part of a contiguous range */
    double scan;  /* its code, for proxy scores */
    double draw;  /* deciding whether it is drawn */
    double key;   /* reading its key alone, through a list */
    double value; /* reading its value through a list, and again for the variance */
    /* and whatever the number of rows, */
    double start; /* queries coded, outputs written: once */
    double look;  /* thresholds, verdicts: each look */
};

/*
 * Fitted to times of whole calls of 1,024 to 32,768 cold rows (docs/performance.md), for AVX-512 and AVX2 on a machine each.  A
 * function of the options and the tier alone, so that choices made with it can be repeated anywhere.
 */
struct vattn_cost vattn_cost_of(const struct vattn_options * o, const struct vattn_kernels * kern);

#endif
