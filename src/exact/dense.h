/* SPDX-License-Identifier: MIT
 *
 * Exact attention of one GQA group over a range of rows: the dense kernel, and the fall-back of everything else.
 */
#ifndef VATTN_DENSE_H
#define VATTN_DENSE_H

#include "combine/partial.h"
#include "plan/plan.h"

/*
 * Adds the visible rows [begin, end) of KV head g to the partial results of its group of query heads.
 * q: [group][head_dim], already multiplied by plan->q_scale.  begin is a multiple of 64.
 */
void vattn_dense_range(const struct vattn_plan * plan, const struct vattn_kv * kv, int32_t g, const float * q,
                       int64_t begin, int64_t end, struct vattn_partial partial);

/* Rows of one task when n rows are split: depends on n alone, so results do not depend on the number of threads. */
int64_t vattn_dense_chunk(int64_t n);

#endif
