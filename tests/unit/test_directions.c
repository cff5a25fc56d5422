/* SPDX-License-Identifier: MIT
 *
 * What a few picked rows say of tr(S^2) and lambda_max: exactly what they are where all rows lie on a line, on average tr(S^2) and
 * not less than lambda_max where they do not; a row is picked as often as its part of V says.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "verify/directions.h"

enum { ROWS = 400, DIM = 64 };

static float x[ROWS][DIM], y[ROWS];

static double uniform(uint64_t key) {
    return vattn_random_uniform((uint32_t)vattn_mix64(key * UINT64_C(0x9E3779B97F4A7C15)));
}

/* Rows on a line or in all directions, the variances of their elements falling as 1/(1 + a)^2; lengths differ widely. */
static void make_rows(bool line, uint64_t seed) {
    for (uint64_t j = 0; j < ROWS; j++) {
        double length = exp(3.0 * uniform(seed * 7919 + j));
        y[j] = 0.0F;
        for (uint64_t a = 0; a < DIM; a++) {
            double sum = -6.0;
            for (uint64_t k = 0; k < 12; k++) {
                sum += uniform((seed * ROWS + (line ? 0 : j)) * DIM * 12 + a * 12 + k);
            }
            x[j][a] = (float)(length * sum / (1.0 + (double)a));
            y[j] += x[j][a] * x[j][a];
        }
    }
}

/* V, sum y^2, tr(S^2) and lambda_max from S itself. */
static void exactly(double * v, double * yy, double * trace2, double * top) {
    static double s[DIM][DIM];
    double direction[DIM], image[DIM], length = 0.0;
    *v = *yy = *trace2 = 0.0;
    for (int a = 0; a < DIM; a++) {
        direction[a] = 1.0;
        for (int b = 0; b < DIM; b++) {
            s[a][b] = 0.0;
            for (int j = 0; j < ROWS; j++) {
                s[a][b] += (double)x[j][a] * (double)x[j][b];
            }
            *trace2 += s[a][b] * s[a][b];
        }
        *v += s[a][a];
    }
    for (int j = 0; j < ROWS; j++) {
        *yy += (double)y[j] * (double)y[j];
    }
    for (int step = 0; step < 500; step++) {
        length = 0.0;
        for (int a = 0; a < DIM; a++) {
            image[a] = 0.0;
            for (int b = 0; b < DIM; b++) {
                image[a] += s[a][b] * direction[b];
            }
            length += image[a] * image[a];
        }
        length = sqrt(length);
        for (int a = 0; a < DIM; a++) {
            direction[a] = image[a] / length;
        }
    }
    *top = length;
}

static struct vattn_directions from_picks(double v, double start) {
    float picked[VATTN_PICKS * DIM];
    int32_t row[VATTN_PICKS];
    double sum = 0.0, step = v / VATTN_PICKS, next = start * step;
    int32_t n = vattn_directions_pick(y, ROWS, step, &sum, &next, row, VATTN_PICKS);
    assert_in_range(n, VATTN_PICKS - 1, VATTN_PICKS);
    for (int32_t i = 0; i < n; i++) {
        for (int a = 0; a < DIM; a++) {
            picked[i * DIM + a] = x[row[i]][a] / sqrtf(y[row[i]]);
        }
    }
    return vattn_directions_of(&vattn_kernels_generic, picked, row, n, DIM, true);
}

static void a_line_has_one_degree_of_freedom(void ** state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        double v, yy, trace2, top;
        make_rows(true, seed);
        exactly(&v, &yy, &trace2, &top);
        struct vattn_directions d = from_picks(v, uniform(seed));
        assert_true(fabs(trace2 / (v * v) - 1.0) < 1e-6);
        assert_true(fabs(d.share - 1.0) < 1e-5);
        assert_true(fabs(d.top - 1.0) < 1e-5);
    }
}

static void many_directions_are_right_on_average(void ** state) {
    (void)state;
    enum { SEEDS = 40, STARTS = 25 };
    double sum = 0.0, squares = 0.0, tops = 0.0, nu = 0.0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        double v, yy, trace2, top;
        make_rows(false, 100 + seed);
        exactly(&v, &yy, &trace2, &top);
        nu += v * v / trace2 / SEEDS;
        for (int i = 0; i < STARTS; i++) {
            struct vattn_directions d = from_picks(v, ((double)i + 0.5) / STARTS);
            double ratio = (yy + (v * v - yy) * d.share) / trace2;
            sum += ratio / (SEEDS * STARTS);
            squares += ratio * ratio / (SEEDS * STARTS);
            tops += d.top * v / top / (SEEDS * STARTS);
        }
    }
    double spread = sqrt(squares - sum * sum);
    print_message("nu %.1f: tr(S^2) %.3f of the truth, standard deviation %.3f; lambda_max %.3f\n", nu, sum, spread, tops);
    assert_true(fabs(sum - 1.0) < 0.03);
    assert_true(spread < 0.3);
    assert_true(tops > 1.0 && tops < 1.15);
}

/* Over all starting points a row is picked PICKS y / V times on average; one with half of V, half of the time. */
static void picks_go_by_the_part_of_v(void ** state) {
    (void)state;
    enum { STARTS = 2000 };
    float part[5] = {1.0F, 0.0F, 8.0F, 3.0F, 4.0F};
    double times[5] = {0};
    for (int i = 0; i < STARTS; i++) {
        double sum = 0.0, next = (i + 0.5) / STARTS * 0.5;
        int32_t at[VATTN_PICKS], n = 0;
        for (int32_t first = 0; first < 5; first += 2) { /* over several calls */
            int32_t some = vattn_directions_pick(part + first, first < 4 ? 2 : 1, 0.5, &sum, &next, at, VATTN_PICKS - n);
            for (int32_t k = 0; k < some; k++) {
                times[first + at[k]] += 1.0 / STARTS;
            }
            n += some;
        }
        assert_int_equal(n, VATTN_PICKS);
    }
    for (int j = 0; j < 5; j++) {
        assert_true(fabs(times[j] - 2.0 * (double)part[j]) < 0.01);
    }
}

static void one_row_says_nothing(void ** state) {
    (void)state;
    float one[2 * DIM] = {0};
    const int32_t row[2] = {7, 7};
    one[0] = one[DIM] = 1.0F;
    assert_true(vattn_directions_of(&vattn_kernels_generic, one, row, 2, DIM, false).share == 1.0);
    assert_true(vattn_directions_of(&vattn_kernels_generic, one, row, 1, DIM, true).share == 1.0);
    assert_true(vattn_directions_of(&vattn_kernels_generic, one, row, 0, DIM, true).top == 1.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_one_degree_of_freedom), cmocka_unit_test(many_directions_are_right_on_average),
        cmocka_unit_test(picks_go_by_the_part_of_v), cmocka_unit_test(one_row_says_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
