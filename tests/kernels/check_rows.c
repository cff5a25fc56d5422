/* SPDX-License-Identifier: MIT
 *
 * Kernels that read rows: scores, weighted sums, distances, offsets.
 */
#include "check_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"

void check_score(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 1500); trial++, check->n_checks++) {
        struct shape s = case_draw_shape(check, trial);
        struct row_memory m = case_draw_rows(check, &s);
        const size_t size = (size_t)s.ld * (size_t)s.n_heads;
        struct guarded q =
            case_draw_floats(check, (size_t)s.n_heads * (size_t)s.dim, trial % 2 ? KIND_NORMAL : KIND_CAUCHY, s.at_end);
        struct guarded out = guarded_new(case_matrix_size(&s) * sizeof(float), s.at_end);
        double * expected = case_allocate(size * sizeof(double));
        double * magnitude = case_allocate(size * sizeof(double));
        if (s.n > 0) {
            case_fill(out.at, case_matrix_size(&s), CASE_CANARY);
        }
        vattn_ref_score(&m.rows, s.type, q.at, s.n_heads, s.dim, expected, magnitude, s.ld);
        check->kernels->score[s.type](&m.rows, q.at, s.n_heads, s.dim, out.at, s.ld);
        if (s.n > 0) {
            case_compare(check, "score", &s, out.at, expected, magnitude, s.dim / 8.0 + 8, s.dim);
        }
        free(expected);
        free(magnitude);
        guarded_free(q);
        guarded_free(out);
        row_memory_free(&m);
    }
}

void check_accumulate(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 1500); trial++, check->n_checks++) {
        struct shape s = case_draw_shape(check, trial);
        struct row_memory m = case_draw_rows(check, &s);
        struct guarded weight =
            case_draw_floats(check, case_matrix_size(&s), trial % 2 ? KIND_NORMAL : KIND_CAUCHY, s.at_end);
        const size_t size = (size_t)s.n_heads * (size_t)s.dim;
        struct guarded acc = case_draw_floats(check, size, KIND_NORMAL, s.at_end);
        double * expected = case_allocate(size * sizeof(double));
        double * magnitude = case_allocate(size * sizeof(double));
        for (size_t i = 0; i < size; i++) {
            expected[i] = (double)((float *)acc.at)[i];
            magnitude[i] = fabs(expected[i]);
        }
        vattn_ref_accumulate(&m.rows, s.type, weight.at, s.ld, s.n_heads, s.dim, expected, magnitude);
        check->kernels->accumulate[s.type](&m.rows, weight.at, s.ld, s.n_heads, s.dim, acc.at);
        struct shape by_dim = s;
        by_dim.n = s.dim;
        by_dim.ld = s.dim;
        case_compare(check, "accumulate", &by_dim, acc.at, expected, magnitude, s.n + 2, s.n);
        free(expected);
        free(magnitude);
        guarded_free(weight);
        guarded_free(acc);
        row_memory_free(&m);
    }
}

void check_distance(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 1000); trial++, check->n_checks++) {
        struct shape s = case_draw_shape(check, trial);
        struct row_memory m = case_draw_rows(check, &s);
        const enum kind kind = s.kind == KIND_CAUCHY ? KIND_NORMAL : s.kind;
        struct guarded center = case_draw_floats(check, (size_t)s.n_heads * (size_t)s.dim, kind, s.at_end);
        struct guarded dist2 = guarded_new(case_matrix_size(&s) * sizeof(float), s.at_end);
        double * expected = case_allocate((size_t)s.ld * (size_t)s.n_heads * sizeof(double));
        if (s.n > 0) {
            case_fill(dist2.at, case_matrix_size(&s), CASE_CANARY);
        }
        vattn_ref_distance(&m.rows, s.type, center.at, s.n_heads, s.dim, expected, s.ld);
        check->kernels->distance[s.type](&m.rows, center.at, s.n_heads, s.dim, dist2.at, s.ld);
        if (s.n > 0) {
            case_compare(check, "distance", &s, dist2.at, expected, expected, s.dim / 8.0 + 12, 4.0 * s.dim);
        }
        free(expected);
        guarded_free(center);
        guarded_free(dist2);
        row_memory_free(&m);
    }
}

/* Centres are few rows of a block of their own, named by an index of their own; every other time differences are wanted. */
void check_offset(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 1000); trial++, check->n_checks++) {
        struct shape s = case_draw_shape(check, trial), few = s;
        struct row_memory m = case_draw_rows(check, &s);
        few.gather = true;
        few.kind = s.kind == KIND_CAUCHY ? KIND_NORMAL : s.kind;
        struct row_memory c = case_draw_rows(check, &few);
        struct shape by_dim = s, by_row = s;
        by_dim.n_heads = s.n;
        by_dim.n = s.dim;
        by_dim.ld = s.dim + case_draw_below(check, 3);
        by_row.n_heads = 1;
        const size_t size = s.n == 0 ? 0 : (size_t)by_dim.ld * (size_t)(s.n - 1) + (size_t)s.dim;
        struct guarded dist2 = guarded_new((size_t)s.n * sizeof(float), s.at_end);
        struct guarded out = guarded_new(size * sizeof(float), s.at_end);
        double * expected2 = case_allocate(((size_t)s.n + 1) * sizeof(double));
        double * expected = case_allocate((size + 1) * sizeof(double));
        case_fill(out.at, size, CASE_CANARY);
        vattn_ref_offset(&m.rows, &c.rows, s.type, s.dim, expected2, expected, by_dim.ld);
        check->kernels->offset[s.type](&m.rows, &c.rows, s.dim, dist2.at, trial % 2 ? out.at : NULL, by_dim.ld);
        case_compare(check, "offset (dist2)", &by_row, dist2.at, expected2, expected2, s.dim / 8.0 + 12, 4.0 * s.dim);
        if (trial % 2) {
            for (size_t i = 0; i < size; i++) { /* a single rounding: no difference is left */
                expected[i] = (double)(float)expected[i];
            }
            case_compare(check, "offset (out)", &by_dim, out.at, expected, expected, 0, 0);
        }
        free(expected2);
        free(expected);
        guarded_free(dist2);
        guarded_free(out);
        row_memory_free(&m);
        row_memory_free(&c);
    }
}
