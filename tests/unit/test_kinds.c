/* SPDX-License-Identifier: MIT
 *
 * Kinds of values against plain models: the search against brute force, Lloyd's algorithm against a twin in double precision,
 * the bytes of a row against distances in double precision, values that are not finite, shapes at the edges of capacity,
 * random programs of appending and overwriting, and what damage validate must name.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/random.h"
#include "index/index.h"
#include "unit/layer.h"

enum { ROWS = 2048, D = 64, STEPS = 4 };

static const int64_t capacities[] = {ROWS, 7040, 32768}; /* 4 packed kinds, some tens, a tree of 16 x 16 */

static uint32_t draw(uint32_t * at) {
    const uint32_t counter[4] = {(*at)++, 7, 7, 7}, key[2] = {8, 9};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return word[0];
}

static double element(const struct layer * l, const void * table, size_t i) {
    return (double)vattn_row_element(l->options.v_type, table, (int32_t)i); /* rows without gaps are one long row */
}

static double value(const struct layer * l, int32_t g, int64_t row, int32_t a) {
    return element(l, l->v, ((size_t)row * (size_t)l->options.n_kv_heads + (size_t)g) * D + (size_t)a);
}

/* Squared distance of a value from row i of a table. */
static double distance2(const struct layer * l, int32_t g, int64_t row, const void * table, int32_t i) {
    double sum = 0.0;
    for (int32_t a = 0; a < D; a++) {
        double x = value(l, g, row, a) - element(l, table, (size_t)i * D + (size_t)a);
        sum += x * x;
    }
    return sum;
}

static void make(struct layer * l, enum vattn_type type, int64_t capacity, uint64_t seed) {
    struct vattn_options o = layer_options(4, 2, D, ROWS);
    o.k_type = o.v_type = type;
    layer_make(l, &o, seed);
    assert_int_equal(vattn_index_create(l->plan, capacity, &l->index), VATTN_STATUS_OK);
    assert_int_equal(vattn_index_calibrate(l->index, &l->kv, l->moment), VATTN_STATUS_OK);
    assert_int_equal(vattn_index_encode(l->index, &l->kv, 0, ROWS), VATTN_STATUS_OK);
}

/* ------------------------------------------------------------------------------------------------------ rows and kinds */

/* No row of the table in [first, first + n) is nearer than the one that was chosen. */
static void assert_nearest(const struct layer * l, int32_t g, int64_t row, const void * table, int32_t first, int32_t n, int32_t chosen) {
    double mine = distance2(l, g, row, table, chosen);
    for (int32_t i = first; i < first + n; i++) {
        assert_true(mine <= distance2(l, g, row, table, i) * (1.0 + 1e-5) + 1e-5);
    }
}

static void check_rows(const struct layer * l, int32_t used[VATTN_MOST_KINDS]) {
    const struct vattn_index * x = l->index;
    for (int32_t g = 0; g < l->options.n_kv_heads; g++) {
        const struct vattn_kinds * k = &x->kinds[g];
        for (int64_t r = 0; r < ROWS; r++) {
            int32_t kind = vattn_index_kind(x, g, r), b = kind / k->leaves;
            assert_in_range(kind, 0, k->branches * k->leaves - 1);
            used[kind]++;
            assert_nearest(l, g, r, k->branch, 0, k->branches, b);
            assert_nearest(l, g, r, k->mean, b * k->leaves, k->leaves, kind);
            double off = 4.0 * log2(distance2(l, g, r, k->mean, kind) / ((double)x->books[g].v_rms * (double)x->books[g].v_rms));
            double bonus = (double)vattn_index_bonus(x, g)[r], kept = (double)vattn_index_off(x, g, r);
            off = fmax(off, -40.0);
            off = k->packed ? fmax(fmin(off, bonus), bonus - 28.0) : off;
            assert_true(fabs(kept - off) <= (k->packed ? 2.51 : 0.51));
        }
    }
}

static void rows_have_the_nearest_kind(void ** state) {
    (void)state;
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        for (int type = 0; type < VATTN_TYPE_COUNT; type++) {
            struct layer l;
            int32_t used[VATTN_MOST_KINDS] = {0}, n = 0;
            make(&l, (enum vattn_type)type, capacities[i], 31 + i);
            check_rows(&l, used);
            for (int32_t k = 0; k < VATTN_MOST_KINDS; k++) {
                n += used[k] > 0;
            }
            assert_true(n > l.index->kinds[0].branches * l.index->kinds[0].leaves * 3 / 4); /* not all in one */
            layer_free(&l);
        }
    }
}

/* -------------------------------------------------------------------------------------------------------------- Lloyd */

/* Lloyd's algorithm over n listed rows of x; out: [k][D] means, label: [n] of the last step, then of the final means. */
static void twin_lloyd(const double * x, const int32_t * list, int32_t n, int32_t k, double * out, int32_t * label) {
    for (int32_t i = 0; i < k; i++) {
        memcpy(out + i * D, x + (size_t)list[(int64_t)i * n / k] * D, D * sizeof *out);
    }
    for (int32_t step = 0; step <= STEPS; step++) {
        double sum[VATTN_MOST_KINDS][D] = {{0}};
        int32_t count[VATTN_MOST_KINDS] = {0};
        for (int32_t j = 0; j < n; j++) {
            double best = INFINITY;
            for (int32_t i = 0; i < k; i++) {
                double d2 = 0.0;
                for (int32_t a = 0; a < D; a++) {
                    double t = x[(size_t)list[j] * D + (size_t)a] - out[i * D + a];
                    d2 += t * t;
                }
                if (d2 < best) {
                    best = d2;
                    label[j] = i;
                }
            }
            count[label[j]]++;
            for (int32_t a = 0; a < D; a++) {
                sum[label[j]][a] += x[(size_t)list[j] * D + (size_t)a];
            }
        }
        for (int32_t i = 0; i < k && step < STEPS; i++) {
            for (int32_t a = 0; a < D && count[i] > 0; a++) {
                out[i * D + a] = sum[i][a] / count[i];
            }
        }
    }
}

/* Largest difference between a table and means in double precision, in units of what storing them in f16 rounds. */
static double apart(const struct layer * l, const void * table, const double * mean, int32_t k) {
    double most = 0.0;
    for (int32_t i = 0; i < k * D; i++) {
        most = fmax(most, fabs(element(l, table, (size_t)i) - mean[i]) / (fabs(mean[i]) * 0x1p-11 + 1e-4));
    }
    return most;
}

static void means_are_those_of_a_twin(void ** state) {
    (void)state;
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        struct layer l;
        make(&l, VATTN_TYPE_F16, capacities[i], 41 + i);
        const struct vattn_kinds * k = &l.index->kinds[1];
        double * x = calloc((size_t)ROWS * D, sizeof *x);
        double branch[16 * D], leaf[VATTN_PACKED_KINDS * D];
        int32_t list[ROWS], label[ROWS], part[ROWS], unused[ROWS];
        assert_non_null(x);
        for (int32_t r = 0; r < ROWS; r++) {
            list[r] = r;
            for (int32_t a = 0; a < D; a++) {
                x[r * D + a] = value(&l, 1, r, a);
            }
        }
        twin_lloyd(x, list, ROWS, k->branches, branch, label);
        assert_true(apart(&l, k->branch, branch, k->branches) < 1.5);
        for (int32_t b = 0; b < k->branches; b++) {
            int32_t n = 0;
            for (int32_t r = 0; r < ROWS; r++) {
                if (label[r] == b) {
                    part[n++] = r;
                }
            }
            assert_true(n > 0);
            twin_lloyd(x, part, n, k->leaves, leaf, unused);
            assert_true(apart(&l, k->mean + (size_t)(b * k->leaves) * k->row_bytes, leaf, k->leaves) < 1.5);
        }
        free(x);
        layer_free(&l);
    }
}

/* Values that are one of a few patterns are stood for without any error, and nothing of them need be read. */
static void patterns_are_learned(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(4, 2, D, ROWS);
    struct layer l;
    layer_make(&l, &o, 51);
    for (int64_t r = 0; r < ROWS; r++) {
        uint32_t pattern = (uint32_t)(4 * r / ROWS); /* the index has four kinds, that start from rows evenly spread */
        for (int32_t i = 0; i < 2 * D; i++) {
            ((uint16_t *)l.v)[r * 2 * D + i] = vattn_half_from_float((float)((pattern * 31U + (uint32_t)i * 7U) % 13U) - 6.0F);
        }
    }
    layer_index(&l);
    assert_int_equal(l.index->kinds[0].branches * l.index->kinds[0].leaves, 4);
    for (int64_t r = 0; r < ROWS; r++) {
        const struct vattn_kinds * k = &l.index->kinds[0];
        assert_true(distance2(&l, 0, r, k->mean, vattn_index_kind(l.index, 0, r)) < 1e-3);
        assert_in_range(vattn_index_off(l.index, 0, r) + 60, 20, 60 - 28 + 16);
    }
    assert_true(l.index->books[0].lift > 2.9F);
    layer_free(&l);
}

/* --------------------------------------------------------------------------------------------------------------- edges */

static void values_that_are_not_finite(void ** state) {
    (void)state;
    static const uint16_t bad[] = {0x7e00, 0x7c00, 0xfc00}; /* NaN, infinities */
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        struct layer l;
        const char * reason = "";
        make(&l, VATTN_TYPE_F16, capacities[i], 61);
        for (int32_t b = 0; b < 3; b++) {
            ((uint16_t *)l.v)[(size_t)(300 + b) * 2 * D + 5] = bad[b];
        }
        assert_int_equal(vattn_index_encode(l.index, &l.kv, 256, 320), VATTN_STATUS_OK);
        assert_int_equal(vattn_index_covered(l.index, 256, 320), 61);
        assert_int_equal(vattn_index_covered(l.index, 300, 303), 0);
        assert_true(vattn_index_kind(l.index, 0, 301) < l.index->kinds[0].branches * l.index->kinds[0].leaves);
        assert_true(vattn_index_validate(l.index, &l.kv, &reason));
        assert_int_equal(vattn_index_calibrate(l.index, &l.kv, l.moment), VATTN_STATUS_NOT_FINITE);
        layer_free(&l);
    }
}

static void shapes_at_every_capacity(void ** state) {
    (void)state;
    static const int32_t dims[] = {8, 40, 64, 128, 256, 576};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        struct vattn_options o = layer_options(4, 2, dims[i], 64);
        o.v_dim = dims[i]; /* the plan fills it in */
        int32_t last = 0;
        for (int64_t capacity = 64; capacity < 1 << 21; capacity += capacity < 65536 ? 64 : 65536) {
            struct vattn_kinds k = vattn_kinds_shape(&o, capacity);
            int32_t n = k.branches * k.leaves;
            assert_in_range(n, 4, k.packed ? VATTN_PACKED_KINDS : VATTN_MOST_KINDS);
            assert_true(n >= last); /* more rows never afford fewer kinds */
            assert_true(vattn_kinds_bytes(&k) >= (size_t)(n + k.branches) * (k.row_bytes + sizeof(float)));
            last = n;
        }
        assert_true(dims[i] == 8 || last == VATTN_MOST_KINDS); /* a twelfth of rows of 8 does not even pay for the codes */
    }
}

/* ------------------------------------------------------------------------------------------------ programs and damage */

static void overwrite(struct layer * l, int64_t row, uint32_t * at) {
    for (int32_t i = 0; i < 2 * D; i++) {
        ((uint16_t *)l->v)[(size_t)row * 2 * D + (size_t)i] = vattn_half_from_float((float)(draw(at) % 2000) / 300.0F - 3.0F);
    }
}

static void programs_keep_kinds_right(void ** state) {
    (void)state;
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        struct layer l;
        uint32_t at = 0;
        const char * reason = "";
        make(&l, VATTN_TYPE_F16, capacities[i], 71);
        for (int step = 0; step < 20; step++) {
            uint8_t before[2][ROWS];
            int64_t begin = draw(&at) % ROWS, end = begin + 1 + draw(&at) % 100;
            end = end < ROWS ? end : ROWS;
            for (int32_t g = 0; g < 2; g++) {
                memcpy(before[g], l.index->kind + g * l.index->capacity, ROWS);
            }
            for (int64_t r = begin; r < end; r++) {
                overwrite(&l, r, &at);
            }
            assert_false(vattn_index_validate(l.index, &l.kv, &reason)); /* nobody told the index */
            assert_non_null(strstr(reason, "kinds: a row's value"));
            assert_int_equal(vattn_index_encode(l.index, &l.kv, begin, end), VATTN_STATUS_OK);
            assert_true(vattn_index_validate(l.index, &l.kv, &reason));
            for (int32_t g = 0; g < 2; g++) {
                for (int64_t r = 0; r < ROWS; r++) {
                    assert_true((r >= begin && r < end) || l.index->kind[g * l.index->capacity + r] == before[g][r]);
                }
            }
        }
        int32_t used[VATTN_MOST_KINDS] = {0};
        check_rows(&l, used);
        layer_free(&l);
    }
}

static void expect_reason(const struct layer * l, const char * text) {
    const char * reason = "";
    assert_false(vattn_index_validate(l->index, &l->kv, &reason));
    assert_non_null(strstr(reason, text));
}

static void validate_names_damage(void ** state) {
    (void)state;
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        struct layer l;
        const char * reason = "";
        make(&l, VATTN_TYPE_F16, capacities[i], 81);
        struct vattn_index * x = l.index;
        struct vattn_kinds * k = &x->kinds[1];
        uint16_t old, nan = 0x7e00, other = 0x3c01;
        memcpy(&old, k->mean + 2 * k->row_bytes, sizeof old);
        memcpy(k->mean + 2 * k->row_bytes, &nan, sizeof nan);
        expect_reason(&l, "kinds: a mean");
        memcpy(k->mean + 2 * k->row_bytes, &other, sizeof other);
        expect_reason(&l, "kinds: a mean");
        memcpy(k->mean + 2 * k->row_bytes, &old, sizeof old);
        k->branch_half[0] += 1.0F;
        expect_reason(&l, "kinds: a mean");
        k->branch_half[0] -= 1.0F;
        uint8_t * row = x->kind + x->capacity + 100, kept = *row;
        *row = (uint8_t)(kept ^ 1U); /* there is one of that number, but another one */
        expect_reason(&l, "kinds: a row's value");
        *row = kept;
        if (k->packed && k->branches * k->leaves < VATTN_PACKED_KINDS) {
            *row = VATTN_PACKED_KINDS - 1;
            expect_reason(&l, "does not exist");
            *row = (uint8_t)(kept ^ VATTN_PACKED_KINDS);
        } else {
            x->off[x->capacity + 100] = (int8_t)(x->off[x->capacity + 100] + 1);
        }
        expect_reason(&l, "not as far");
        *row = kept;
        assert_int_equal(vattn_index_encode(x, &l.kv, 100, 101), VATTN_STATUS_OK);
        assert_true(vattn_index_validate(x, &l.kv, &reason));
        layer_free(&l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_have_the_nearest_kind), cmocka_unit_test(means_are_those_of_a_twin),
                                       cmocka_unit_test(patterns_are_learned),       cmocka_unit_test(values_that_are_not_finite),
                                       cmocka_unit_test(shapes_at_every_capacity),   cmocka_unit_test(programs_keep_kinds_right),
                                       cmocka_unit_test(validate_names_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
