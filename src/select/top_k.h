/* SPDX-License-Identifier: MIT */
#ifndef VATTN_TOP_K_H
#define VATTN_TOP_K_H

#include <stdint.h>

/* The k-th largest of x[0..n), 1 <= k <= n.  Reorders x. */
float vattn_top_k_cut(float * x, int64_t n, int64_t k);

#endif
