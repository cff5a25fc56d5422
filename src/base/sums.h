/* SPDX-License-Identifier: MIT
 *
 * Sums in eight lanes, element j in lane j mod 8: an order that depends on the length alone and that compilers vectorise.
 */
#ifndef VATTN_SUMS_H
#define VATTN_SUMS_H

#include <stdint.h>
#include <string.h>

/* Eight lanes, in whatever registers the target has. */
typedef float vattn_eight __attribute__((vector_size(32)));

static inline float vattn_sum8(const float s[8]) {
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

static inline float vattn_dot(const float * a, const float * b, int32_t n) {
    float s[8] = {0};
    for (int32_t i = 0; i < n; i++) {
        s[i & 7] += a[i] * b[i];
    }
    return vattn_sum8(s);
}

#endif
