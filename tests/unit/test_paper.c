/* SPDX-License-Identifier: MIT
 *
 * The methods of comparison against their twin, their published formulas, and their statistics.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vattn_experimental.h>

#include "base/bits.h"
#include "paper/budget.h"
#include "paper/paper.h"
#include "unit/drive.h"
#include "unit/layer.h"
#include "unit/paper_check.h"
#include "verify/quantile.h"

/* -------------------------------------------------------------------------------------------------------- the twin */

/* All heads; rows and bytes as the certificates should state them. */
static void compare_call(struct layer * l, struct paper_case which, const struct vattn_selector * s) {
    struct vattn_input in = layer_input(l, which.nonce);
    in.selector = s;
    const struct vattn_call * c = paper_attend(l, &in);
    uint64_t * read = calloc((size_t)vattn_words(l->kv.n_keys), sizeof *read);
    for (which.head = 0; which.head < 4; which.head++) {
        if (which.head % 2 == 0) {
            memset(read, 0, (size_t)vattn_words(l->kv.n_keys) * sizeof *read);
        }
        paper_compare(l, c, &which, read);
        if (which.head % 2 == 1) {
            assert_int_equal(l->cert[which.head].rows_kv, vattn_count(read, l->kv.n_keys));
            assert_int_equal(l->cert[which.head - 1].rows_kv, l->cert[which.head].rows_kv);
        }
        assert_int_equal(l->cert[which.head].answer, VATTN_ANSWER_UNCERTIFIED);
        assert_true(isinf(l->cert[which.head].bound));
    }
    free(read);
}

static void agrees_with_twin(void ** state) {
    (void)state;
    static const enum vattn_method methods[] = {
        VATTN_METHOD_PAPER_D,     VATTN_METHOD_PAPER_N,     VATTN_METHOD_PAPER_SDPA, VATTN_METHOD_HUB,
        VATTN_METHOD_SINK_WINDOW, VATTN_METHOD_TOPK_ORACLE, VATTN_METHOD_TOPP_ORACLE, VATTN_METHOD_UNIFORM};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        for (int variant = 0; variant < 4; variant++) {
            struct vattn_options o = paper_options(methods[i], 1500);
            struct layer l;
            uint64_t visible[24];
            o.eps = variant == 0 ? 0.05 : 0.4; /* large budgets, and the floor */
            o.delta = variant == 0 ? 0.05 : 0.2;
            o.paper_topk = variant == 1 ? 100 : 0.03;
            o.paper_base = 0.04;
            o.v_dim = 24;
            o.paper_shared = variant > 1;
            o.k_type = variant == 2 ? VATTN_TYPE_F32 : VATTN_TYPE_F16;
            if (methods[i] == VATTN_METHOD_PAPER_SDPA || methods[i] == VATTN_METHOD_PAPER_N) {
                o.eps = variant == 0 ? 0.4 : 0.9;
            }
            layer_make(&l, &o, 20 + i);
            for (int w = 0; w < 24; w++) {
                visible[w] = variant == 2 ? 0xfffefffffffbffffU : ~(uint64_t)0;
            }
            l.kv.visible = visible;
            compare_call(&l, (struct paper_case){.method = methods[i], .nonce = 7, .top_p = 0.9, .covered = 1500}, NULL);
            layer_free(&l);
        }
    }
}

/* ------------------------------------------------------------------------------------------------------- selectors */

enum { CLASSES = 7 };

/* A selector of seven classes of equal rows, for ties; 5 bytes a row for the group and 2 for the head. */
static enum vattn_status no_build(struct vattn_selector * s, const struct vattn_kv * kv, const float * moment) {
    (void)s, (void)kv, (void)moment;
    return VATTN_STATUS_OK;
}

static void no_release(struct vattn_selector * s) {
    (void)s;
}

static size_t scratch(const struct vattn_selector * s) {
    (void)s;
    return 100;
}

static int64_t class_of(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q, int64_t n,
                        float * score, void * work) {
    (void)kv, (void)q;
    memset(work, head, 100); /* it must be there */
    for (int64_t r = 0; r < n; r++) {
        score[r] = (float)((r * 5 + head) % CLASSES);
    }
    return vattn_selector_shared(s, head, 5 * n) + 2 * n;
}

static int64_t pages(const struct vattn_selector * s, int64_t k) {
    (void)s;
    return (k + 15) / 16 * 16;
}

static const struct vattn_selector_kind classes = {.name = VATTN_METHOD_QUEST, .build = no_build, .release = no_release,
                                                   .work_bytes = scratch, .score = class_of, .budget = pages};

static void selected_rows_ties_and_bytes(void ** state) {
    (void)state;
    static const enum vattn_method methods[] = {VATTN_METHOD_QUEST, VATTN_METHOD_PAPER_D, VATTN_METHOD_HUB};
    enum { N = 1200, COVERED = 1100 };
    for (size_t i = 0; i < 3; i++) {
        struct vattn_options o = paper_options(methods[i], N);
        struct layer l;
        float proxy[N];
        o.paper_topk = 160; /* whole pages already; cuts through the best class of 1100 / 7 rows */
        o.eps = 0.3;
        layer_make(&l, &o, 40);
        struct vattn_selector s = {.plan = l.plan, .kind = &classes, .n_keys = COVERED};
        struct paper_case which = {.method = methods[i], .nonce = 3, .proxy = proxy, .covered = COVERED};
        paper_use_selector(&l, &s);
        struct vattn_input in = layer_input(&l, which.nonce);
        in.selector = &s;
        struct vattn_call * c = paper_attend(&l, &in);
        for (which.head = 0; which.head < 4; which.head++) {
            uint64_t read[(N + 63) / 64] = {0};
            char work[100];
            class_of(&s, &l.kv, which.head, NULL, COVERED, proxy, work);
            paper_compare(&l, c, &which, read);
            for (int64_t r = COVERED; r < N; r++) {
                assert_true(vattn_bit(read, r)); /* what no index knows is read */
            }
            int64_t row = 32 * 2 * 2, index = COVERED * (5 + 2 * 2);
            const struct vattn_certificate * cert = &l.cert[which.head];
            assert_int_equal(cert->bytes, cert->rows_kv * row + cert->rows_k * row / 2 + index);
            assert_true((cert->rows_k > 0) == (methods[i] == VATTN_METHOD_HUB)); /* the pilot that is thrown away */
        }
        layer_free(&l);
    }
}

/* As many classes as make ties, few rows in each. */
static int64_t fine_class_of(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q, int64_t n,
                             float * score, void * work) {
    (void)kv, (void)q, (void)work;
    for (int64_t r = 0; r < n; r++) {
        score[r] = (float)((r * 37 + 11 * head) % 401);
    }
    return vattn_selector_shared(s, head, n);
}

static const struct vattn_selector_kind fine_classes = {
    .name = VATTN_METHOD_PQ, .build = no_build, .release = no_release, .work_bytes = scratch, .score = fine_class_of};

/* Draws by scores: budgets at their floor and above it, heads apart and pooled, rows hidden and not covered. */
static void samples_by_scores(void ** state) {
    (void)state;
    static const enum vattn_method methods[] = {VATTN_METHOD_PAPER_D, VATTN_METHOD_PAPER_N, VATTN_METHOD_PAPER_SDPA};
    enum { N = 1500, COVERED = 1400 };
    static float proxy[4][N];
    for (int i = 0; i < 12; i++) {
        struct vattn_options o = paper_options(methods[i % 3], N);
        struct layer l;
        uint64_t visible[24];
        o.paper_by_scores = true;
        o.paper_shared = i % 2 == 1;
        o.paper_topk = i < 6 ? 90 : 1e-9;
        o.paper_base = 0.04;
        o.eps = i / 3 % 2 == 0 ? 0.35 : 0.9;
        o.delta = 0.2;
        o.v_dim = 24;
        layer_make(&l, &o, 140 + (uint64_t)i);
        memset(visible, i % 4 == 2 ? 0xef : 0xff, sizeof visible);
        l.kv.visible = visible;
        struct vattn_selector s = {.plan = l.plan, .kind = &fine_classes, .n_keys = COVERED};
        struct paper_case cases[4] = {{0}};
        paper_use_selector(&l, &s);
        struct vattn_input in = layer_input(&l, 9);
        in.selector = &s;
        struct vattn_call * c = paper_attend(&l, &in);
        for (int32_t h = 0; h < 4; h++) {
            fine_class_of(&s, &l.kv, h, NULL, COVERED, proxy[h], NULL);
            cases[h] = (struct paper_case){.method = methods[i % 3], .head = h, .nonce = 9, .proxy = proxy[h], .covered = COVERED,
                                           .other = o.paper_shared ? &cases[h ^ 1] : NULL};
        }
        for (int32_t h = 0; h < 4; h++) {
            uint64_t read[(N + 63) / 64] = {0};
            paper_compare(&l, c, &cases[h], read);
            assert_true(!o.paper_shared || vattn_count(read, N) == l.cert[h].rows_kv);
        }
        layer_free(&l);
    }
}

/* The selector asks for whole pages. */
static void budgets_in_pages(void ** state) {
    (void)state;
    struct vattn_options o = paper_options(VATTN_METHOD_QUEST, 1000);
    struct layer l;
    o.paper_topk = 33;
    layer_make(&l, &o, 41);
    struct vattn_selector s = {.plan = l.plan, .kind = &classes, .n_keys = 1000};
    paper_use_selector(&l, &s);
    struct vattn_input in = layer_input(&l, 1);
    in.selector = &s;
    assert_int_equal(paper_attend(&l, &in)->paper->heads[0].n_fixed, 4 + 32 + 48);
    layer_free(&l);
}

static void selectors_that_do_not_fit_are_refused(void ** state) {
    (void)state;
    struct vattn_options o = paper_options(VATTN_METHOD_PQ, 300), other = layer_options(4, 4, 32, 300);
    struct layer l, l2;
    struct vattn_call * c;
    layer_make(&l, &o, 42);
    layer_make(&l2, &other, 42);
    struct vattn_selector s = {.plan = l.plan, .kind = &classes, .n_keys = 300};
    struct vattn_input in = layer_input(&l, 1);
    assert_int_equal(vattn_call_begin(l.plan, &in, l.work, l.work_bytes, &c), VATTN_STATUS_INVALID_ARGUMENT); /* none */
    in.selector = &s;
    assert_int_equal(vattn_call_begin(l.plan, &in, l.work, l.work_bytes, &c), VATTN_STATUS_INVALID_ARGUMENT); /* kind */
    layer_free(&l);
    o.method = VATTN_METHOD_QUEST;
    layer_make(&l, &o, 42);
    in = layer_input(&l, 1);
    in.selector = &s;
    s.plan = l2.plan;
    assert_int_equal(vattn_call_begin(l.plan, &in, l.work, l.work_bytes, &c), VATTN_STATUS_INVALID_ARGUMENT); /* shape */
    s.plan = l.plan;
    assert_int_equal(vattn_call_begin(l.plan, &in, l.work, l.work_bytes, &c), VATTN_STATUS_NO_MEMORY); /* its scratch */
    paper_use_selector(&l, &s);
    assert_int_equal(vattn_call_begin(l.plan, &in, l.work, l.work_bytes, &c), VATTN_STATUS_OK);
    layer_free(&l);
    layer_free(&l2);
}

/* --------------------------------------------------------------------------------------------------------- budgets */

static void the_split_is_the_best_one(void ** state) {
    (void)state;
    static const double spreads[][2] = {{30, 30}, {1, 100}, {100, 1}, {5, 0}, {0, 5}, {0.2, 7}};
    for (size_t i = 0; i < 6; i++) {
        for (int k = 0; k < 3; k++) {
            struct vattn_spread s = {spreads[i][0], spreads[i][1]};
            double eps = k == 0 ? 0.05 : 0.3, delta = k == 2 ? 0.5 : 0.05, best = INFINITY;
            struct vattn_split split = vattn_budget_split(s, eps, delta);
            assert_true(fabs(2.0 * (split.e1 + split.e2) - eps) < 1e-12);
            assert_true(fabs(split.d1 + split.d2 - delta) < 1e-12);
            if (s.n > 0.0 && s.d > 0.0) { /* it does what it says */
                assert_true(fabs(vattn_budget_one(s.n, split.e1, split.d1) / split.b - 1.0) < 1e-6);
                assert_true(fabs(vattn_budget_one(s.d, split.e2, split.d2) / split.b - 1.0) < 1e-6);
            }
            for (int a = 1; a < 200; a++) {
                double d1 = delta * a / 200.0;
                double zn = vattn_normal_two_sided(d1) * s.n, zd = vattn_normal_two_sided(delta - d1) * s.d;
                for (int b = 1; b < 1000; b++) {
                    double e1 = 0.5 * eps * b / 1000.0, e2 = 0.5 * eps - e1;
                    best = fmin(best, fmax(zn / e1 * (zn / e1), zd / e2 * (zd / e2)));
                }
            }
            assert_true(split.b <= best * (1.0 + 1e-9)); /* no split of the grid is better */
            assert_true(split.b >= best * 0.97);         /* and the grid comes close */
        }
    }
}

static void budgets_are_clamped(void ** state) {
    (void)state;
    assert_int_equal(vattn_budget_rows(100.0, 10, 1000), 91); /* 100 / 1.1 rounded up */
    assert_int_equal(vattn_budget_rows(1.0, 10, 1000), 10);
    assert_int_equal(vattn_budget_rows(1e12, 10, 1000), 1000);
    assert_int_equal(vattn_budget_rows(INFINITY, 10, 1000), 1000);
    assert_int_equal(vattn_budget_rows(NAN, 10, 1000), 1000);
}

/* ------------------------------------------------------------------------------------------------------ statistics */

/* Means over draws of the estimates of D and N of head 0 in units of the truth, and their standard errors. */
struct mean {
    double d, d_error, n, n_error; /* n: along the direction of N */
};

static struct mean mean_of_draws(struct layer * l, int draws) {
    double o[64], norm2 = 0.0, log_d = 0.0, d[2] = {0, 0}, n[2] = {0, 0};
    struct vattn_options exact = l->options;
    struct layer twin;
    exact.method = VATTN_METHOD_EXACT;
    exact.paper_by_scores = false;
    layer_make(&twin, &exact, 60);
    memcpy(twin.q, l->q, 4 * 32 * sizeof(float));
    struct vattn_input in = layer_input(&twin, 0);
    in.kv = &l->kv;
    assert_true(vattn_call_log_denominator(paper_attend(&twin, &in), 0, &log_d));
    layer_truth(l, 0, o);
    for (int a = 0; a < l->options.v_dim; a++) {
        norm2 += o[a] * o[a];
    }
    for (int r = 0; r < draws; r++) {
        double along = 0.0, log_e;
        in = layer_input(l, (uint64_t)r);
        assert_true(vattn_call_log_denominator(paper_attend(l, &in), 0, &log_e));
        double ratio = exp(log_e - log_d);
        for (int a = 0; a < l->options.v_dim; a++) {
            along += o[a] * (double)l->out[a] / norm2;
        }
        d[0] += ratio / draws;
        d[1] += ratio * ratio / draws;
        n[0] += ratio * along / draws;
        n[1] += ratio * along * ratio * along / draws;
    }
    layer_free(&twin);
    return (struct mean){d[0], sqrt((d[1] - d[0] * d[0]) / draws), n[0], sqrt((n[1] - n[0] * n[0]) / draws)};
}

/* Without a decision in between, a sample without replacement gives unbiased D and N. */
static void samples_are_unbiased(void ** state) {
    (void)state;
    static const enum vattn_method methods[] = {VATTN_METHOD_UNIFORM, VATTN_METHOD_PAPER_N, VATTN_METHOD_PAPER_N,
                                                VATTN_METHOD_PAPER_N, VATTN_METHOD_PAPER_N, VATTN_METHOD_PAPER_N};
    for (int i = 0; i < 6; i++) {
        struct vattn_options o = paper_options(methods[i], 1200);
        struct layer l;
        o.paper_base = 0.05;
        o.paper_topk = 0.1;
        o.eps = i == 1 || i > 2 ? 0.99 : 0.25; /* the floor, or a budget that the pilot decides */
        o.paper_shared = i == 3 || i == 5;
        o.paper_by_scores = i > 3;
        layer_make(&l, &o, 50);
        for (int a = 0; a < 32; a++) {
            l.q[a] *= 0.3F; /* flat enough for a normal mean */
        }
        struct mean m = mean_of_draws(&l, 4000);
        print_message("%-8s eps %.2f: D %.5f +- %.5f, N %.5f +- %.5f\n", vattn_method_name(methods[i]), o.eps, m.d,
                      m.d_error, m.n, m.n_error);
        assert_true(m.d_error > 1e-4 && m.d_error < 0.01);
        double allowed = i == 2 ? 0.01 : 0.0; /* a budget that depends on its own sample: small, not zero */
        assert_true(fabs(m.d - 1.0) < 4.5 * m.d_error + allowed && fabs(m.n - 1.0) < 4.5 * m.n_error + allowed);
        layer_free(&l);
    }
}

/* Two heads on a KV head: apart they read two samples, along one order the same rows. */
static void heads_share_what_they_draw(void ** state) {
    (void)state;
    enum { N = 1200, B = 120, PLAIN = 4 + 32 };
    for (int shared = 0; shared < 2; shared++) {
        struct vattn_options o = paper_options(VATTN_METHOD_UNIFORM, N);
        struct layer l;
        o.paper_base = B;
        o.paper_shared = shared == 1;
        layer_make(&l, &o, 90);
        struct vattn_input in = layer_input(&l, 5);
        (void)paper_attend(&l, &in);
        int64_t rows = l.cert[0].rows_kv;
        assert_true(shared == 1 ? rows == PLAIN + B : rows > PLAIN + 3 * B / 2);
        assert_int_equal(l.cert[1].rows_kv, rows);
        layer_free(&l);
    }
}

/* Equal keys: the pilot sees no spread, so the budget is its floor, f of the window; what is left of the tail is what
 * repeated draws leave, 1 - (1 - 1/R)^b of the rows at weight R / b, that is (1 - exp(-f)) / f. */
static void the_hub_loses_what_it_draws_twice(void ** state) {
    (void)state;
    enum { N = 1236 };
    for (int i = 0; i < 3; i++) {
        double f = i == 0 ? 0.05 : i == 1 ? 0.2 : 0.6, R = N - 36, k = 60;
        struct vattn_options o = paper_options(VATTN_METHOD_HUB, N);
        struct layer l;
        o.paper_base = f;
        o.paper_topk = k;
        layer_make(&l, &o, 51);
        for (int a = 0; a < 4 * 32; a++) {
            l.q[a] = 0.0F;
        }
        struct mean m = mean_of_draws(&l, 2000);
        double b = floor(f * R), tail = R - k, share = (1.0 - pow(1.0 - 1.0 / R, b)) * R / b;
        double expected = (N - tail + tail * share) / N;
        print_message("hub, f = %.2f: D %.5f +- %.5f, expected %.5f, (1 - exp(-f)) / f = %.4f\n", f, m.d, m.d_error,
                      expected, (1.0 - exp(-f)) / f);
        assert_true(fabs(m.d - expected) < 4.5 * m.d_error + 1e-5);
        assert_true(fabs(share - (1.0 - exp(-f)) / f) < 2e-3);
        assert_true(m.d < 1.0 - 0.9 * tail / N * (1.0 - share));
        layer_free(&l);
    }
}

/* The quantile is one-sided: at delta = .5 it is zero and the floor is all there is, however small eps. */
static void the_hub_believes_in_one_side(void ** state) {
    (void)state;
    struct vattn_options o = paper_options(VATTN_METHOD_HUB, 1500);
    struct layer l;
    o.delta = 0.5;
    o.eps = 1e-4;
    layer_make(&l, &o, 52);
    struct vattn_input in = layer_input(&l, 1);
    const struct vattn_call * c = paper_attend(&l, &in);
    for (int h = 0; h < 4; h++) {
        assert_int_equal(c->paper->heads[h].budget, 14); /* .01 of 1464 */
    }
    layer_free(&l);
}

/* -------------------------------------------------------------------------------------------------------- the rest */

/* A set that leaves nothing out is exact, and says so. */
static void everything_is_exact(void ** state) {
    (void)state;
    for (int m = VATTN_METHOD_PAPER_N; m <= VATTN_METHOD_UNIFORM; m++) {
        for (int variant = 0; variant < 3; variant++) {
            struct vattn_options o = paper_options((enum vattn_method)m, variant == 0 ? 30 : 300);
            struct layer l;
            o.paper_topk = o.paper_base = variant == 1 ? 1.0 : 0.9;
            o.window = variant == 2 ? 400 : 0;
            layer_make(&l, &o, 80);
            struct vattn_input in = layer_input(&l, 1);
            paper_attend(&l, &in);
            /* top-p stops at .9 of the mass, StreamingLLM keeps to its window; the hub does not notice by its draws alone */
            bool whole = variant != 1 || (m != VATTN_METHOD_TOPP_ORACLE && m != VATTN_METHOD_SINK_WINDOW);
            assert_int_equal(l.cert[0].answer, whole ? VATTN_ANSWER_EXACT : VATTN_ANSWER_UNCERTIFIED);
            if (whole) {
                assert_true(layer_error(&l) < 1e-5);
                assert_int_equal(l.cert[0].rows_kv, l.kv.n_keys);
            }
            layer_free(&l);
        }
    }
}

static void threads_do_not_matter(void ** state) {
    (void)state;
    for (int m = VATTN_METHOD_PAPER_N; m <= VATTN_METHOD_UNIFORM; m++) {
        struct vattn_options o = paper_options((enum vattn_method)m, 2000);
        struct layer l;
        float first[4 * 32];
        layer_make(&l, &o, 81);
        struct vattn_input in = layer_input(&l, 6);
        drive(&l, &in, 1);
        memcpy(first, l.out, sizeof first);
        drive(&l, &in, 2);
        assert_memory_equal(first, l.out, sizeof first);
        layer_free(&l);
    }
}

/* Every method's denominator is that of dense attention where all rows are used, ours included. */
static void denominators_of_our_own(void ** state) {
    (void)state;
    struct vattn_options o = paper_options(VATTN_METHOD_SPARSE, 3000);
    struct layer l;
    double sampled, exact;
    layer_make(&l, &o, 82);
    struct vattn_input in = layer_input(&l, 6);
    assert_true(vattn_call_log_denominator(paper_attend(&l, &in), 1, &exact)); /* no index: exact */
    layer_index(&l);
    in = layer_input(&l, 6);
    assert_true(vattn_call_log_denominator(paper_attend(&l, &in), 1, &sampled));
    assert_int_equal(l.cert[1].answer, VATTN_ANSWER_CERTIFIED);
    assert_true(fabs(sampled - exact) > 1e-7 && fabs(sampled - exact) < 0.2);
    l.kv.n_keys = 0;
    assert_false(vattn_call_log_denominator(paper_attend(&l, &in), 1, &exact));
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_twin),
                                       cmocka_unit_test(selected_rows_ties_and_bytes),
                                       cmocka_unit_test(samples_by_scores),
                                       cmocka_unit_test(budgets_in_pages),
                                       cmocka_unit_test(selectors_that_do_not_fit_are_refused),
                                       cmocka_unit_test(the_split_is_the_best_one),
                                       cmocka_unit_test(budgets_are_clamped),
                                       cmocka_unit_test(samples_are_unbiased),
                                       cmocka_unit_test(heads_share_what_they_draw),
                                       cmocka_unit_test(the_hub_loses_what_it_draws_twice),
                                       cmocka_unit_test(the_hub_believes_in_one_side),
                                       cmocka_unit_test(everything_is_exact),
                                       cmocka_unit_test(threads_do_not_matter),
                                       cmocka_unit_test(denominators_of_our_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
