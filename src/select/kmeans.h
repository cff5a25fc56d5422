/* SPDX-License-Identifier: MIT
 *
 * k-means of (parts of) rows by Lloyd's algorithm, a function of the rows and the seed.
 */
#ifndef VATTN_KMEANS_H
#define VATTN_KMEANS_H

#include "plan/plan.h"

/* Elements [first, first + dim) of rows of the type of the plan's keys. */
struct vattn_points {
    const struct vattn_plan * plan;
    struct vattn_rows rows;
    int32_t first, dim;
};

/* code[i] = the centroid [k][dim] nearest to point i, the first one of equals.  Returns how many codes changed. */
int64_t vattn_kmeans_assign(const struct vattn_points * p, const float * centroid, int32_t k, uint16_t * code);

/*
 * At most `steps` times: every point joins its nearest centroid, every centroid moves to the mean of its points.  Starts from
 * k <= p->rows.n different points, drawn by (seed, stream).  A centroid without points takes the point that is
 * farthest from its own.  Rows are finite.  False: out of memory.
 */
bool vattn_kmeans(const struct vattn_points * p, int32_t k, int32_t steps, uint64_t seed, const uint32_t stream[2],
                  float * centroid);

#endif
