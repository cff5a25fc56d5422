/* SPDX-License-Identifier: MIT
 *
 * The signs of the sketch: magnitudes stay, and signs are as likely plus as minus, whatever else is known: the row's other sign,
 * its neighbour's, the same row's under another key.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "verify/sketch.h"

enum { ROWS = 100000 };

static int32_t row[ROWS];
static float a[ROWS], b[ROWS], c[ROWS], d[ROWS];

static void draw(uint64_t key, float * first, float * second) {
    for (int32_t j = 0; j < ROWS; j++) {
        row[j] = 3 * j;
        first[j] = second[j] = 1.0F + (float)j;
    }
    vattn_sketch_signs(key, row, ROWS, first, second);
    for (int32_t j = 0; j < ROWS; j++) {
        assert_true(fabsf(first[j]) == 1.0F + (float)j && fabsf(second[j]) == 1.0F + (float)j);
        first[j] = copysignf(1.0F, first[j]);
        second[j] = copysignf(1.0F, second[j]);
    }
}

/* Five standard deviations of a sum of fair signs. */
static void balanced(const char * what, const float * x, const float * y, int32_t shift) {
    double sum = 0.0;
    for (int32_t j = 0; j < ROWS - shift; j++) {
        sum += (double)x[j] * (y != NULL ? (double)y[j + shift] : 1.0);
    }
    if (!(fabs(sum) < 5.0 * sqrt((double)ROWS))) {
        fail_msg("%s: %g of %d", what, sum, ROWS);
    }
}

static void signs_are_fair(void ** state) {
    (void)state;
    draw(7, a, b);
    draw(8, c, d);
    balanced("first", a, NULL, 0);
    balanced("second", b, NULL, 0);
    balanced("first times second", a, b, 0);
    balanced("neighbours", a, a, 1);
    balanced("neighbours, second", b, b, 1);
    balanced("first times the neighbour's second", a, b, 1);
    balanced("another key", a, c, 0);
    balanced("another key, second", b, d, 0);
}

static void zeros_stay_zeros(void ** state) {
    (void)state;
    const int32_t rows[4] = {0, 1, 2, 3};
    float x[4] = {0}, y[4] = {0};
    vattn_sketch_signs(1, rows, 4, x, y);
    for (int32_t j = 0; j < 4; j++) {
        assert_true(x[j] == 0.0F && y[j] == 0.0F);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(signs_are_fair), cmocka_unit_test(zeros_stay_zeros)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
