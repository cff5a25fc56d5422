/* SPDX-License-Identifier: MIT
 *
 * Random hyperplanes for signatures: rows of independent standard normal numbers, a function of the seed.
 */
#ifndef VATTN_HYPERPLANES_H
#define VATTN_HYPERPLANES_H

#include <stdint.h>

/* plane [n][dim] */
void vattn_hyperplanes(uint64_t seed, int32_t n, int32_t dim, float * plane);

#endif
