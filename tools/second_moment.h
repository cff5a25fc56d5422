/* SPDX-License-Identifier: MIT
 * The second moment of queries, where a capture does not bring its own. */
#ifndef VATTN_TOOLS_SECOND_MOMENT_H
#define VATTN_TOOLS_SECOND_MOMENT_H

#include "capture_file.h"

/* [n_kv_heads][head_dim][head_dim]: mean of q q' over steps 0 … n_steps-1 and the heads of the group; free() it. */
float * second_moment_of_steps(const struct capture * capture, int32_t n_steps);

#endif
