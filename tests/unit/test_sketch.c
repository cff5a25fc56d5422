/* SPDX-License-Identifier: MIT
 *
 * The signs of the sketch: magnitudes stay, and signs are as likely plus as minus, whatever else is known: the row's other sign,
 * its neighbour's, the same row's under another key.  What it says of tr(S^2) and lambda_max: exactly what they are where all rows lie on a
 * line, and on average not less where they do not.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* Rows on a line, or with independent normal elements of falling variance; x is [n][dim]. */
static void make_rows(float * x, int32_t n, int32_t dim, bool line, uint64_t seed) {
    for (int32_t j = 0; j < n; j++) {
        for (int32_t i = 0; i < dim; i++) {
            uint64_t key = seed * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)(line ? j : j * dim + i);
            float sum = 0.0F;
            for (uint64_t k = 0; k < 12; k++) {
                sum += (float)(vattn_mix64(key * 12 + k) >> 40) * 0x1p-24F;
            }
            x[j * dim + i] = (sum - 6.0F) * (line ? (float)(i % 3 - 1) : 1.0F / (1.0F + (float)i));
        }
    }
}

/* S itself: V, sum |x|^4, tr(S^2), and the sketch of it with the signs of one key. */
static double sketch(const float * x, int32_t n, int32_t dim, uint64_t key, double * v, double * exact, double * top) {
    static float bucket[VATTN_BUCKETS * 64];
    double yy = 0.0;
    memset(bucket, 0, sizeof bucket);
    *v = *exact = 0.0;
    for (int32_t j = 0; j < n; j++) {
        double length2 = 0.0;
        row[j] = j;
        a[j] = b[j] = 1.0F;
        for (int32_t i = 0; i < dim; i++) {
            length2 += (double)x[j * dim + i] * (double)x[j * dim + i];
        }
        *v += length2;
        yy += length2 * length2;
    }
    for (int32_t i = 0; i < dim; i++) {
        for (int32_t l = 0; l < dim; l++) {
            double s = 0.0;
            for (int32_t j = 0; j < n; j++) {
                s += (double)x[j * dim + i] * (double)x[j * dim + l];
            }
            *exact += s * s;
        }
    }
    vattn_sketch_signs(key, row, n, a, b);
    for (int32_t j = 0; j < n; j++) {
        for (int32_t i = 0; i < dim; i++) {
            bucket[(j % VATTN_BUCKETS) * dim + i] += a[j] * x[j * dim + i];
        }
    }
    return vattn_sketch_trace2(&vattn_kernels_generic, bucket, dim, *v, yy, top);
}

static void a_line_has_one_degree_of_freedom(void ** state) {
    (void)state;
    enum { N = 300, DIM = 16 };
    static float x[N * DIM];
    for (uint64_t key = 0; key < 50; key++) {
        double v, exact, top;
        make_rows(x, N, DIM, true, key);
        double trace2 = sketch(x, N, DIM, key, &v, &exact, &top);
        assert_true(fabs(exact / (v * v) - 1.0) < 1e-6);
        assert_true(fabs(trace2 / exact - 1.0) < 1e-5);
        assert_true(fabs(top / v - 1.0) < 1e-5);
    }
}

static void it_is_not_low_on_average(void ** state) {
    (void)state;
    enum { N = 300, DIM = 64, KEYS = 400 };
    static float x[N * DIM];
    double v, exact = 0.0, top, sum = 0.0, squares = 0.0;
    make_rows(x, N, DIM, false, 5);
    for (uint64_t key = 0; key < KEYS; key++) {
        double trace2 = sketch(x, N, DIM, key, &v, &exact, &top);
        assert_true(top > 0.5 * sqrt(exact) && top <= v);
        sum += trace2 / exact;
        squares += trace2 / exact * (trace2 / exact);
    }
    double mean = sum / KEYS, spread = sqrt(squares / KEYS - mean * mean);
    print_message("tr(S^2), nu %.1f: mean %.3f of the truth, standard deviation %.3f\n", v * v / exact, mean, spread);
    assert_true(mean > 0.99 && mean < 1.05);
    assert_true(spread < 0.25);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(signs_are_fair), cmocka_unit_test(zeros_stay_zeros),
                                       cmocka_unit_test(a_line_has_one_degree_of_freedom),
                                       cmocka_unit_test(it_is_not_low_on_average)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
