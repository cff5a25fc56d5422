/* SPDX-License-Identifier: MIT
 *
 * The paper's verified-D: deterministic set + uniform sample without replacement, the denominator controlled.
 *
 *     F = sinks, window, top-k of the rest by exact scores;   T = all other visible rows, n_s of them
 *     pilot of b_0 rows of T:  sd of e,  D~ = sum_F e + n_s/b_0 sum_pilot e
 *     b = b'/(1 + b'/n_s),  b' = (z n_s sd / (eps D~))^2,  clamped to [b_0, n_s];  z two-sided normal quantile
 *     N^ = sum_F e v + n_s/b sum_S e v,  D^ likewise (the pilot is part of S),  o^ = N^/D^
 *
 * It controls D alone, so nothing is claimed about the output: answers are "uncertified" unless all rows were read.
 * Each head draws for itself, as in the paper.  A baseline written to be read, not to be fast.
 */
#ifndef VATTN_PAPER_D_H
#define VATTN_PAPER_D_H

#include "call/call.h"

struct vattn_paper;

struct vattn_paper * vattn_paper_layout(const struct vattn_plan * plan, struct vattn_scratch * s, int64_t n_keys);
void vattn_paper_group(struct vattn_call * c, int32_t g);

#endif
