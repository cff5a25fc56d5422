/* SPDX-License-Identifier: MIT
 *
 * Sums by kind are those of a loop over keys and heads, to the last bit; cells of other kinds and columns stay as they were.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "sparse/sparse.h"

enum { KEYS = 1000, LD = 1024, KINDS = 37, COLUMNS = 12 };

static float uniform(uint64_t * seed) {
    *seed = vattn_mix64(*seed + UINT64_C(0x9E3779B97F4A7C15));
    return (float)(*seed >> 40) * 0x1p-24F;
}

static void check(int32_t n_heads, int32_t n, int32_t first) {
    static float weight[4 * LD], sum[KINDS * COLUMNS], expected[KINDS * COLUMNS];
    static int32_t kind[KEYS];
    uint64_t seed = (uint64_t)(n_heads * 1000 + n);
    for (int32_t i = 0; i < 4 * LD; i++) {
        weight[i] = uniform(&seed);
    }
    for (int32_t j = 0; j < n; j++) {
        kind[j] = (int32_t)(uniform(&seed) * uniform(&seed) * (KINDS - 1)); /* the last kind has no key */
    }
    for (int32_t i = 0; i < KINDS * COLUMNS; i++) {
        sum[i] = expected[i] = uniform(&seed);
    }
    for (int32_t h = 0; h < n_heads; h++) {
        for (int32_t j = 0; j < n; j++) {
            expected[kind[j] * COLUMNS + first + h] += weight[h * LD + j];
        }
    }
    vattn_sparse_tally(weight, LD, kind, n_heads, n, COLUMNS, sum + first);
    for (int32_t i = 0; i < KINDS * COLUMNS; i++) {
        const int32_t column = i % COLUMNS;
        if (column >= first + n_heads && column < first + 4) {
            continue; /* of no use to anybody */
        }
        if (memcmp(&sum[i], &expected[i], sizeof sum[i]) != 0) {
            fail_msg("%d heads, %d keys, kind %d, column %d: %.9g, expected %.9g", n_heads, n, i / COLUMNS, column, (double)sum[i],
                     (double)expected[i]);
        }
    }
}

static void sums_by_kind(void ** state) {
    (void)state;
    for (int32_t n_heads = 1; n_heads <= VATTN_SPARSE_TOGETHER; n_heads++) {
        check(n_heads, 0, 0);
        check(n_heads, 1, 4);
        check(n_heads, KEYS, 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_by_kind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
