/* SPDX-License-Identifier: MIT
 *
 * Partial attention results of some heads: max score m (log2 units), d = sum exp2(s - m), n = sum exp2(s - m) v.
 * Two partials merge exactly by rescaling to the larger m; the empty one (m = -inf, d = 0, n = 0) is neutral.
 */
#ifndef VATTN_PARTIAL_H
#define VATTN_PARTIAL_H

#include <stddef.h>
#include <stdint.h>

/* A view of consecutive heads; the memory is m[heads], d[heads], n[heads][v_dim]. */
struct vattn_partial {
    float * m;
    float * d;
    float * n;
    int32_t v_dim;
};

static inline size_t vattn_partial_floats(int32_t heads, int32_t v_dim) {
    return (size_t)heads * (2 + (size_t)v_dim);
}

/* View of the heads from `first` on, in memory laid out for `heads` heads. */
static inline struct vattn_partial vattn_partial_view(float * base, int32_t heads, int32_t v_dim, int32_t first) {
    float * n = base + 2 * (size_t)heads;
    return (struct vattn_partial){base + first, base + heads + first, n + (size_t)first * (size_t)v_dim, v_dim};
}

static inline struct vattn_partial vattn_partial_skip(struct vattn_partial p, int32_t heads) {
    return (struct vattn_partial){p.m + heads, p.d + heads, p.n + (size_t)heads * (size_t)p.v_dim, p.v_dim};
}

void vattn_partial_clear(struct vattn_partial p, int32_t heads);

/* Bring head h to the reference max m (m >= p.m[h]). */
void vattn_partial_rescale(struct vattn_partial p, int32_t h, float m);

/* Add head h of `from` to head h of `into`. */
void vattn_partial_add(struct vattn_partial into, struct vattn_partial from, int32_t h);

/* out = n / d of head h, zero where nothing was visible */
void vattn_partial_output(struct vattn_partial p, int32_t h, float * out);

#endif
