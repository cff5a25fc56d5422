/* SPDX-License-Identifier: MIT
 *
 * Exact attention over a range of rows: the dense kernel, and the fall-back of everything else.
 */
#ifndef VATTN_DENSE_H
#define VATTN_DENSE_H

#include "combine/partial.h"
#include "plan/plan.h"

/*
 * Adds the visible rows [begin, end) of the KV heads first_head, ... to the partial results of their query heads.
 * q: [n_heads][head_dim] of all query heads, already multiplied by plan->q_scale; all: their partials, from query head 0.
 * begin is a multiple of 64.  then: the row that this thread is likely to come to next, which is prefetched at the end.
 */
void vattn_dense_rows(const struct vattn_plan * plan, const struct vattn_kv * kv, const float * q, int32_t first_head,
                      int32_t n_heads, int64_t begin, int64_t end, int64_t then, struct vattn_partial all);

/* Rows of one task when n rows are split: depends on n alone, so results do not depend on the number of threads. */
int64_t vattn_dense_chunk(int64_t n);

#endif
