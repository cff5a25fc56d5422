/* SPDX-License-Identifier: MIT
 *
 * The strict call: certified bounds of the scores, every number of a look against its double-precision twin, any number of
 * threads, masks, rows without codes, fall-backs, and the planted cheats that these checks must see.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/ref/ref.h"
#include "unit/drive.h"
#include "unit/strict_twin.h"

static struct vattn_options strict_options(int32_t heads, int32_t kv_heads, int32_t d, int64_t n) {
    struct vattn_options o = layer_options(heads, kv_heads, d, n);
    o.method = VATTN_METHOD_SPARSE_STRICT;
    o.eps = 0.2;
    o.max_rows = 1.0;
    return o;
}

static double relative(double a, double b) {
    return fabs(a - b) / fmax(fabs(b), 1e-300);
}

/* ------------------------------------------------------------------------------------------------- bounds of scores */

/* A query to which the code of this row does the most harm: w = B^-T q in the direction of the row's residual. */
static void aim(struct layer * l, int32_t h, int64_t row) {
    const struct vattn_code_book * b = &l->index->books[0];
    int32_t d = l->options.head_dim;
    const float * basis = b->basis; /* of strict plans: f32 */
    double residual[VATTN_MAX_DIM], norm2 = 0.0;
    assert_false(b->halves);
    for (int32_t a = 0; a < d; a++) {
        int bits = vattn_code_bits(b->layout, a);
        double y = -(double)b->shift[a];
        for (int32_t j = 0; j < d; j++) {
            y += (double)basis[a * d + j] * (double)l->k32[(size_t)row * (size_t)d + (size_t)j];
        }
        if (bits > 0) {
            uint32_t code =
                vattn_ref_code(vattn_index_block(l->index, 0, row), b->layout, (int32_t)(row % VATTN_BLOCK), a);
            y -= ((double)code - (double)(1 << (bits - 1)) + 0.5) * (double)b->step[a];
        }
        residual[a] = y;
        norm2 += y * y;
    }
    for (int32_t j = 0; j < d; j++) { /* the row's score is 3 nats more than its proxy says */
        double q = 0.0;
        for (int32_t a = 0; a < d; a++) {
            q += residual[a] * (double)basis[a * d + j];
        }
        l->q[h * d + j] = (float)(3.0 * q / norm2 / (double)l->options.scale);
    }
}

/* Rows whose score is beyond `share` of its bound, and the largest score error over its bound. */
static int beyond(struct layer * l, double share, double * tightest) {
    struct vattn_input in = layer_input(l, 3);
    struct vattn_call * c;
    int count = 0;
    *tightest = 0.0;
    assert_int_equal(vattn_call_begin(l->plan, &in, l->work, l->work_bytes, &c), VATTN_STATUS_OK);
    for (int32_t n; (n = vattn_call_next(c)) > 0 && c->phase != VATTN_PHASE_DESIGN;) {
        for (int32_t t = 0; t < n; t++) {
            vattn_call_task(c, t);
        }
    }
    const struct vattn_strict * s = c->strict;
    for (int64_t r = 0; r < l->kv.n_keys; r++) {
        const uint8_t * reach = vattn_index_reach(l->index, 0, r);
        if (((unsigned)s->sure[r / 16] >> (r % 16) & 1U) != 0 || vattn_bit(s->known, r)) {
            continue;
        }
        for (int32_t h = 0; h < l->options.n_heads; h++) {
            struct vattn_score_bound b = s->heads[h].bound;
            double most = (double)fminf(b.residual * s->tables[0].reach.residual[reach[0]],
                                        b.unlikely * s->tables[0].reach.unlikely[reach[1]]);
            double error = fabs(strict_score(l, h, r) - (double)s->scores[(size_t)h * (size_t)s->ld + (size_t)r]);
            *tightest = fmax(*tightest, error / (most + (double)b.slack));
            count += error > share * most + (double)b.slack;
        }
    }
    return count;
}

static void scores_stay_within_their_bounds(void ** state) {
    (void)state;
    static const int32_t dims[] = {64, 40, 128};
    static const double bits[] = {1.0, 2.0, 4.0};
    for (int i = 0; i < 9; i++) {
        struct vattn_options o = strict_options(4, 1, dims[i / 3], 3000);
        struct layer l;
        double usual, tightest;
        o.code_bits = bits[i % 3];
        layer_make(&l, &o, 20 + (uint64_t)i);
        layer_index(&l);
        assert_int_equal(beyond(&l, 1.0, &usual), 0);
        for (int32_t h = 0; h < 4; h++) { /* four rows off the escape list, each one the target of a query */
            int64_t row = 700 + 500 * h;
            while (vattn_bit(vattn_index_escape(l.index, 0), row)) {
                row++;
            }
            aim(&l, h, row);
        }
        assert_int_equal(beyond(&l, 1.0, &tightest), 0);
        int cheat = beyond(&l, 0.5, &tightest); /* a library that believes in half of its residuals */
        print_message("dim %3d, %.0f bits: largest error / bound %.2f, aimed %.2f; half the bound breaks %d times\n",
                      o.head_dim, o.code_bits, usual, tightest, cheat);
        assert_true(tightest > 0.65 && cheat >= 3);
        layer_free(&l);
    }
}

/* Values, too: the byte is never below the distance, and not far above it. */
static void values_stay_within_their_bounds(void ** state) {
    (void)state;
    struct vattn_options o = strict_options(2, 1, 64, 2000);
    struct layer l;
    struct vattn_reach_tables tables;
    layer_make(&l, &o, 31);
    for (int a = 0; a < 64; a++) {
        ((uint16_t *)l.v)[700 * 64 + a] = 0x7bff; /* 65504: far off any grid */
    }
    layer_index(&l);
    vattn_reach_tables(l.index, 0, &tables);
    for (int64_t r = 0; r < 2000; r++) {
        double sum = 0.0;
        for (int a = 0; a < 64; a++) {
            double x = (double)l.v32[r * 64 + a] - (double)l.index->books[0].v_mean[a];
            sum += x * x;
        }
        double reach = (double)tables.value[vattn_index_reach(l.index, 0, r)[2]];
        assert_true(r == 700 || (reach >= sqrt(sum) && reach <= 1.1 * sqrt(sum)));
    }
    assert_true(vattn_index_covered(l.index, 700, 701) == 0 ||
                (double)tables.value[vattn_index_reach(l.index, 0, 700)[2]] >= 65504.0);
    layer_free(&l);
}

/* ------------------------------------------------------------------------------------------------------------ twin */

static void agrees_with_twin(void ** state) {
    (void)state;
    static const int32_t shape[][2] = {{7, 64}, {3, 64}, {8, 128}, {1, 40}};
    int checked = 0;
    for (size_t i = 0; i < 8; i++) {
        struct vattn_options o = strict_options(shape[i / 2][0], 1, shape[i / 2][1], 6000);
        struct layer l;
        struct vattn_call * c;
        struct strict_start start;
        o.code_bits = i % 2 == 0 ? 4.0 : 2.0;
        layer_make(&l, &o, 40 + i);
        layer_index(&l);
        struct vattn_input in = layer_input(&l, 77);
        assert_int_equal(strict_drive(&l, &in, &c, &start), VATTN_STATUS_OK);
        assert_true(layer_error(&l) < 0.2);
        for (int32_t h = 0; h < o.n_heads && l.cert[h].rounds == 2 && l.cert[h].answer == VATTN_ANSWER_CERTIFIED; h++) {
            const struct vattn_strict_head * head = &c->strict->heads[h];
            struct strict_twin t;
            strict_twin_look(&l, c, &start, h, &t);
            assert_int_equal(t.rows, l.cert[h].rows_kv);
            assert_true(t.room < 1.0); /* the condition of the theorem, on every row, read or not */
            assert_true(fabs(head->log2_d - t.log2_d) < 1e-4 && relative(head->v, t.v) < 1e-3);
            assert_true(relative(head->radius, t.radius) < 1e-3);
            for (int32_t a = 0; a < o.head_dim; a++) {
                assert_true(fabs((double)l.out[h * o.head_dim + a] - t.o[a]) < 1e-4);
            }
            free(t.o);
            checked++;
        }
        strict_start_free(&start);
        layer_free(&l);
    }
    print_message("%d heads compared\n", checked);
    assert_true(checked >= 20);
}

/* ----------------------------------------------------------------------------------------------------------- calls */

static void threads_do_not_matter(void ** state) {
    (void)state;
    struct vattn_options o = strict_options(14, 2, 64, 9000);
    struct layer l;
    float one[14 * 64];
    struct vattn_certificate cert[14];
    layer_make(&l, &o, 50);
    layer_index(&l);
    struct vattn_input in = layer_input(&l, 5);
    assert_int_equal(drive(&l, &in, 1), VATTN_STATUS_OK);
    assert_int_equal(l.cert[0].answer, VATTN_ANSWER_CERTIFIED);
    memcpy(one, l.out, sizeof one);
    memcpy(cert, l.cert, sizeof cert);
    for (int threads = 2; threads <= 5; threads += 3) {
        memset(l.out, 0, sizeof one);
        assert_int_equal(drive(&l, &in, threads), VATTN_STATUS_OK);
        assert_memory_equal(one, l.out, sizeof one);
        assert_memory_equal(cert, l.cert, sizeof cert);
        memset(l.out, 0, sizeof one);
        assert_int_equal(drive_freely(&l, &in, threads), VATTN_STATUS_OK);
        assert_memory_equal(one, l.out, sizeof one);
        assert_memory_equal(cert, l.cert, sizeof cert);
    }
    in.nonce = 6;
    assert_int_equal(drive(&l, &in, 2), VATTN_STATUS_OK);
    assert_memory_not_equal(one, l.out, sizeof one); /* other draws */
    layer_free(&l);
}

/* Hidden rows may hold anything; rows without codes are read. */
static void masks_and_coverage(void ** state) {
    (void)state;
    struct vattn_options o = strict_options(6, 2, 64, 5000);
    struct layer l;
    layer_make(&l, &o, 60);
    layer_index(&l);
    uint64_t visible[79] = {0};
    for (int64_t r = 0; r < 5000; r++) {
        if (r % 5 != 2 && r < 4800) {
            vattn_bit_set(visible, r);
        } else {
            memset((uint16_t *)l.k + r * 128, 0xff, 256);
            memset((uint16_t *)l.v + r * 128, 0xff, 256);
        }
    }
    l.kv.visible = visible;
    vattn_index_forget(l.index, 4000, 4400);
    struct vattn_input in = layer_input(&l, 8);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    assert_true(layer_error(&l) < 0.2);
    assert_int_equal(l.cert[0].n_keys, 3840);
    assert_true(l.cert[0].rows_kv >= 320 && l.cert[0].rows_kv < 3840);
    layer_free(&l);
}

static void exact_where_no_sample_will_do(void ** state) {
    (void)state;
    struct vattn_options o = strict_options(6, 2, 64, 3000);
    struct layer l;
    o.eps = 1e-4;
    o.max_rows = 0.5;
    layer_make(&l, &o, 70);
    layer_index(&l);
    struct vattn_input in = layer_input(&l, 8);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    for (int h = 0; h < 6; h++) {
        assert_int_equal(l.cert[h].answer, VATTN_ANSWER_EXACT);
        assert_int_equal(l.cert[h].rows_kv, 3000);
    }
    assert_true(layer_error(&l) < 1e-5);
    memset(l.v, 0, (size_t)3000 * 2 * 64 * 2); /* outputs of length zero have no relative error */
    memset(l.v32, 0, (size_t)3000 * 2 * 64 * 4);
    assert_int_equal(vattn_index_encode(l.index, &l.kv, 0, 3000), VATTN_STATUS_OK);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    assert_int_equal(l.cert[0].answer, VATTN_ANSWER_EXACT);
    in.index = NULL;
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    assert_int_equal(l.cert[0].answer, VATTN_ANSWER_EXACT);
    layer_free(&l);
}

/* The probabilities of a wrong verdict add up to delta, in every scope and for any number of looks. */
static void looks_share_delta(void ** state) {
    (void)state;
    for (int scope = 0; scope < 3; scope++) {
        for (int32_t looks = 1; looks < 6; looks++) {
            struct vattn_options o = strict_options(6, 2, 64, 2000);
            struct vattn_plan * plan;
            double sum = 0.0;
            o.scope = (enum vattn_scope)scope;
            o.max_looks = looks;
            o.n_layers = 4;
            assert_int_equal(vattn_plan_create(&o, &plan, NULL), VATTN_STATUS_OK);
            for (int32_t r = 1; r < vattn_strict_looks(plan); r++) {
                sum += vattn_strict_alpha(plan, r);
            }
            double head = scope == VATTN_SCOPE_HEAD ? 0.05 : scope == VATTN_SCOPE_LAYER ? 0.05 / 6 : 0.05 / 24;
            assert_true(looks == 1 ? sum == 0.0 : relative(sum, head) < 1e-12);
            vattn_plan_free(plan);
        }
    }
}

/* What the tables of strict mode add, and that nobody else pays for them. */
static void index_bytes_are_counted(void ** state) {
    (void)state;
    struct vattn_options o = strict_options(6, 2, 64, 2048);
    struct vattn_plan *strict, *sparse;
    o.code_bits = 2.0;
    assert_int_equal(vattn_plan_create(&o, &strict, NULL), VATTN_STATUS_OK);
    o.method = VATTN_METHOD_SPARSE;
    assert_int_equal(vattn_plan_create(&o, &sparse, NULL), VATTN_STATUS_OK);
    struct vattn_kinds shape = vattn_kinds_shape(&sparse->opt, 2048);
    size_t kinds = sizeof shape + vattn_kinds_bytes(&shape) + 2048U * (shape.packed ? 1U : 2U); /* strict mode has no use for them */
    size_t wider = 2 * 64 * 64 * 2; /* its bounds are about matrices in f32 */
    assert_int_equal(vattn_index_bytes(strict, 2048) + 2 * kinds,
                     vattn_index_bytes(sparse, 2048) + 2 * (2048 * 3 + 2048 / 64 * 4 + wider));
    assert_true((double)(vattn_index_bytes(strict, 1 << 20) >> 20) <= 2 * 256 / 12.0); /* of the f16 rows, at 2 bits */
    vattn_plan_free(strict);
    vattn_plan_free(sparse);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(scores_stay_within_their_bounds),
                                       cmocka_unit_test(values_stay_within_their_bounds),
                                       cmocka_unit_test(agrees_with_twin),
                                       cmocka_unit_test(threads_do_not_matter),
                                       cmocka_unit_test(masks_and_coverage),
                                       cmocka_unit_test(exact_where_no_sample_will_do),
                                       cmocka_unit_test(looks_share_delta),
                                       cmocka_unit_test(index_bytes_are_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
