/* SPDX-License-Identifier: MIT
 *
 * Sums in eight lanes, element j in lane j mod 8: an order that depends on the length alone.
 */
#ifndef VATTN_SUMS_H
#define VATTN_SUMS_H

#include <stdint.h>
#include <string.h>

/* Vectors of four, which every target has in registers; gcc leaves vectors of eight in memory where it has no room for them. */
typedef float vattn_four __attribute__((vector_size(16)));

static inline vattn_four vattn_load4(const float * x) {
    vattn_four four;
    memcpy(&four, x, sizeof four);
    return four;
}

static inline void vattn_store4(float * x, vattn_four four) {
    memcpy(x, &four, sizeof four);
}

static inline float vattn_sum8(const float s[8]) {
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

/* Of lanes 0 .. 3 and 4 .. 7. */
static inline float vattn_sum_lanes(vattn_four low, vattn_four high) {
    const vattn_four s = low + high;
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* sum[i mod 8] += a[i] b[i], the lanes as in vattn_sum_lanes. */
static inline void vattn_add_products(vattn_four sum[2], const float * a, const float * b, int32_t n) {
    vattn_four low = sum[0], high = sum[1];
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        low += vattn_load4(a + i) * vattn_load4(b + i);
        high += vattn_load4(a + i + 4) * vattn_load4(b + i + 4);
    }
    sum[0] = low;
    sum[1] = high;
    for (; i < n; i++) {
        sum[i % 8 / 4][i % 4] += a[i] * b[i];
    }
}

static inline float vattn_dot(const float * a, const float * b, int32_t n) {
    vattn_four sum[2] = {{0}, {0}};
    vattn_add_products(sum, a, b, n);
    return vattn_sum_lanes(sum[0], sum[1]);
}

#endif
