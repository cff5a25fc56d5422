/* SPDX-License-Identifier: MIT
 *
 * MagicPIG (arXiv 2410.16179): locality-sensitive hashing of centred keys by signs of random projections, L tables of K
 * bits each.  A row is proposed if it shares its bucket with the query in at least `collisions` tables, which happens
 * with a probability that the angle between query and centred key decides:
 *
 *     p = 1 - angle / pi          one bit agrees
 *     c = p^K                     one table collides
 *     w = 1 - sum_{j < collisions} C(L, j) c^j (1 - c)^(L - j)
 *
 * Keys are centred by their mean between sinks and window, queries are not.
 */
#ifndef VATTN_MAGICPIG_H
#define VATTN_MAGICPIG_H

#include "select/selector.h"

/* w as a function of the angle in [0, pi]. */
double vattn_lsh_inclusion(double angle, int32_t k, int32_t l, int32_t collisions);

/* Of a query, not multiplied by the scale. */
struct vattn_magicpig_query {
    double norm, center; /* ||q||, <q, mean key> */
};
struct vattn_magicpig_query vattn_magicpig_query(const struct vattn_selector * s, int32_t kv_head, const float * q);

/* w of one row, given dot = <q, k>. */
double vattn_magicpig_inclusion(const struct vattn_selector * s, int32_t kv_head, struct vattn_magicpig_query query,
                                int64_t row, double dot);

#endif
