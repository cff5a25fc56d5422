/* SPDX-License-Identifier: MIT
 *
 * Kernels over scores: their maximum, their powers of two, what thresholds would give.
 */
#include "check_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"

static const int32_t lengths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 1000, 4099};

void check_max(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 500); trial++, check->n_checks++) {
        const int32_t n = PICK(check, lengths);
        struct guarded x = case_draw_floats(check, (size_t)n, (enum kind)case_draw_below(check, N_KINDS), trial & 1);
        float * value = x.at;
        for (int32_t j = 0; j < n; j++) {
            if (trial % 5 == 0 && (case_draw(check) & 3) == 0) {
                value[j] = -INFINITY;
            } else if (trial % 7 == 0) {
                value[j] = -fabsf(value[j]) - 1; /* 0 must not come in from padding */
            } else if (trial % 11 == 0 && (case_draw(check) & 7) == 0) {
                value[j] = NAN;
            }
        }
        const double expected = vattn_ref_max(value, n);
        const double got = (double)check->kernels->max(value, n);
        if (got != expected) {
            char text[80];
            snprintf(text, sizeof text, "n %d trial %d", n, trial);
            case_fail(check, "max", text, got, expected);
        }
        guarded_free(x);
    }
}

void check_exp2_sum(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 800); trial++, check->n_checks++) {
        const int32_t n = PICK(check, lengths);
        struct guarded x = guarded_new((size_t)n * sizeof(float), trial & 1);
        float * value = x.at;
        const float span = trial % 3 == 0 ? 1.0f : trial % 3 == 1 ? 30.0f : 140.0f;
        float m = trial % 13 == 0 ? -INFINITY : 100 * (case_draw_uniform(check) - 0.5f);
        for (int32_t j = 0; j < n; j++) {
            value[j] = (m > -INFINITY ? m : 0) - span * case_draw_uniform(check);
            if (trial % 5 == 0 && (case_draw(check) & 7) == 0) {
                value[j] += (float)case_draw_below(check, 100); /* above m, too */
            }
            if (m == -INFINITY || (trial % 4 == 0 && (case_draw(check) & 3) == 0)) {
                value[j] = -INFINITY;
            }
        }
        const int32_t nan_at = trial % 17 == 0 && n > 0 && m > -INFINITY ? case_draw_below(check, n) : -1;
        if (nan_at >= 0) {
            value[nan_at] = NAN;
        }
        float * before = case_allocate((size_t)n * sizeof(float));
        double * expected = case_allocate((size_t)n * sizeof(double));
        memcpy(before, value, (size_t)n * sizeof(float));
        vattn_ref_exp2_sum(value, expected, n, m);
        const float sum = check->kernels->exp2_sum(value, n, m);
        char text[120];
        double total = 0;
        for (int32_t j = 0; j < n; j++) {
            const double y = (double)before[j] - (double)m;
            const double budget = 2e-7 + log(2) * 0x1p-24 * fabs(y);
            const double error = fabs((double)value[j] - expected[j]);
            const bool fine = j == nan_at ? isnan(value[j])
                                          : error <= budget * expected[j] || (expected[j] < 0x1p-126 && value[j] == 0);
            if (!fine) {
                snprintf(text, sizeof text, "n %d trial %d element %d, y %.9g", n, trial, j, y);
                case_fail(check, "exp2_sum", text, (double)value[j], expected[j]);
                break;
            }
            total += (double)value[j];
        }
        if (nan_at >= 0 ? !isnan(sum) : !case_close_enough((double)sum, total, n / 8.0 + 8, total, 0)) {
            snprintf(text, sizeof text, "n %d trial %d, the sum", n, trial);
            case_fail(check, "exp2_sum", text, (double)sum, total);
        }
        free(before);
        free(expected);
        guarded_free(x);
    }
}

void check_design(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 400); trial++, check->n_checks++) {
        const int32_t n = 8 * case_draw_below(check, trial % 5 == 0 ? 80 : 6), n_heads = PICK(check, case_head_counts);
        const ptrdiff_t ld = n + case_draw_below(check, 20);
        const size_t size = n == 0 ? 0 : (size_t)(ld * (n_heads - 1) + n);
        const float floor = 0x1p-10f;
        struct guarded score = guarded_new(size * sizeof(float), trial & 1);
        struct guarded weight = guarded_new(size * sizeof(float), trial & 1);
        struct guarded threshold = case_draw_floats(check, (size_t)n_heads, KIND_NORMAL, trial & 1);
        for (size_t i = 0; i < size; i++) {
            const uint32_t chance = case_draw(check) % 50;
            ((float *)score.at)[i] = chance == 0   ? INFINITY
                                     : chance == 1 ? -INFINITY
                                                   : 4 - 15 * case_draw_uniform(check);
            ((float *)weight.at)[i] = chance == 2 ? 0 : exp2f(-20 * case_draw_uniform(check));
        }
        float *v = case_allocate((size_t)n_heads * sizeof(float)), *q = case_allocate((size_t)n_heads * sizeof(float));
        double * expected_v = case_allocate((size_t)n_heads * sizeof(double));
        double * expected_q = case_allocate((size_t)n_heads * sizeof(double));
        vattn_ref_design(score.at, weight.at, ld, threshold.at, n_heads, n, floor, expected_v, expected_q);
        check->kernels->design(score.at, weight.at, ld, threshold.at, n_heads, n, floor, v, q);
        for (int32_t g = 0; g < n_heads; g++) {
            char text[80];
            snprintf(text, sizeof text, "trial %d n %d head %d of %d", trial, n, g, n_heads);
            /* all terms are positive: relative errors are those of single terms; L is rounded to 2^-17 and 1/pi - 1 cancels near 1 */
            if (!(fabs((double)v[g] - expected_v[g]) <= 2e-5 * expected_v[g] + 1e-5 * n)) {
                case_fail(check, "design (v)", text, (double)v[g], expected_v[g]);
            }
            if (!(fabs((double)q[g] - expected_q[g]) <= 6e-5 * expected_q[g] + 1e-5 * n)) {
                case_fail(check, "design (q)", text, (double)q[g], expected_q[g]);
            }
        }
        free(v);
        free(q);
        free(expected_v);
        free(expected_q);
        guarded_free(score);
        guarded_free(weight);
        guarded_free(threshold);
    }
}
