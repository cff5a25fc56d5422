/* SPDX-License-Identifier: MIT
 *
 * SOCKET: scores against a twin, and against their expectation over random hyperplanes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "select/hyperplanes.h"
#include "unit/select_case.h"

enum { MOST = 700, MOST_PLANES = 120 };

static double value_norm(const struct layer * l, int32_t g, int64_t row) {
    const size_t groups = (size_t)l->options.n_kv_heads, dim = (size_t)l->options.v_dim;
    double sum = 0.0;
    for (size_t a = 0; a < dim; a++) {
        sum += pow((double)l->v32[((size_t)row * groups + (size_t)g) * dim + a], 2);
    }
    return sqrt(sum);
}

/* <plane, x> for a key, or for a query. */
static double project_key(const struct layer * l, const float * plane, int32_t g, int64_t row) {
    double sum = 0.0;
    for (int32_t a = 0; a < l->options.head_dim; a++) {
        sum += (double)plane[a] * select_key(l, g, row, a);
    }
    return sum;
}

static double project_query(const struct layer * l, const float * plane, int32_t head) {
    double sum = 0.0;
    for (int32_t a = 0; a < l->options.head_dim; a++) {
        sum += (double)plane[a] * (double)l->q[head * l->options.head_dim + a];
    }
    return sum;
}

/* The softmax over all corners of the cube, one of which is the key's; false where rounding decides which one. */
static bool twin_table(const struct layer * l, const struct vattn_selector * s, const float * plane, int32_t head,
                       int64_t row, double * p) {
    const int32_t bits = s->opt.socket_k, dim = l->options.head_dim;
    double own = 0.0, sum = 0.0;
    bool sure = true;
    for (int32_t corner = 0; corner < 1 << bits; corner++) {
        double logit = 0.0;
        bool is_own = true;
        for (int32_t b = 0; b < bits; b++) {
            double key = project_key(l, plane + b * dim, select_kv_head(l, head), row);
            double sign = corner >> b & 1 ? 1.0 : -1.0;
            logit += tanh(project_query(l, plane + b * dim, head)) / sqrt(dim) * sign / s->opt.socket_tau;
            is_own = is_own && (key >= 0.0) == (sign > 0.0);
            sure = sure && fabs(key) > 1e-4;
        }
        sum += exp(logit);
        own = is_own ? exp(logit) : own;
    }
    *p = own / sum;
    return sure;
}

static void agrees_with_twin(void ** state) {
    (void)state;
    static const int32_t bits[] = {4, 1, 6}, tables[] = {1, 13, 7};
    static const double tau[] = {0.0, 0.05, 2.0};
    int64_t rows = 0, unsure = 0;
    for (int i = 0; i < n_select_shapes; i++) {
        for (int v = 0; v < 3; v++) {
            struct layer l;
            struct vattn_selector_options o = select_options(VATTN_METHOD_SOCKET);
            float plane[MOST_PLANES * 128], score[MOST];
            o.socket_k = bits[v];
            o.socket_l = tables[v];
            o.socket_tau = tau[v];
            select_layer(&l, &select_shapes[i], o.kind, 500 + (uint64_t)i);
            struct vattn_selector * s = select_make(&l, &o, NULL);
            const int64_t n = l.kv.n_keys, planes = 4 * bits[v] * tables[v] * l.options.head_dim;
            const int64_t codes = n * ((bits[v] * tables[v] + 7) / 8 + 4);
            assert_int_equal(vattn_selector_bytes(s), planes + l.options.n_kv_heads * codes);
            vattn_hyperplanes(o.seed, bits[v] * tables[v], l.options.head_dim, plane);
            for (int32_t h = 0; h < l.options.n_heads; h++) {
                assert_int_equal(select_score(s, &l, h, n, score), vattn_selector_shared(s, h, planes + codes));
                for (int64_t r = h; r<n; r += n> 50 ? 23 : 1) { /* the twin is slow */
                    double sum = 0.0, norm = value_norm(&l, select_kv_head(&l, h), r);
                    bool sure = true;
                    for (int32_t t = 0; t < tables[v]; t++) {
                        double p;
                        sure = twin_table(&l, s, plane + t * bits[v] * l.options.head_dim, h, r, &p) && sure;
                        sum += p;
                    }
                    rows++;
                    unsure += !sure;
                    assert_true(!sure || fabs((double)score[r] - sum * norm) <= 1e-5 * tables[v] * norm);
                }
            }
            vattn_selector_free(s);
            layer_free(&l);
        }
    }
    print_message("%lld rows, %lld of them left out\n", (long long)rows, (long long)unsure);
    assert_true(rows > 500 && unsure * 50 < rows);
}

/*
 * E p over random planes, for one table.  <w, q> = ||q|| x with x normal; given x, the key is on the positive side with the
 * probability Phi(x / tan(angle)), and every plane is drawn on its own:
 *     E p = (integral of phi(x) [Phi(x / tan a) f(x) + Phi(-x / tan a) f(-x)] dx)^K,   f = 1 / (1 + exp(-2 u / tau))
 */
static double expected(double norm, double angle, int32_t dim, int32_t bits, double tau) {
    const double step = 1e-3;
    double sum = 0.0;
    for (double x = -9.0 + 0.5 * step; x < 9.0; x += step) {
        double u = tanh(norm * x) / sqrt(dim), phi = exp(-0.5 * x * x) / sqrt(2.0 * acos(-1.0));
        double same = 0.5 * erfc(-x / tan(angle) / sqrt(2.0));
        sum += step * phi * (same / (1.0 + exp(-2.0 * u / tau)) + (1.0 - same) / (1.0 + exp(2.0 * u / tau)));
    }
    return pow(sum, bits);
}

/* Over seeds the score is what the angle says: the soft kernel, and for tau -> 0 the collision probability of LSH. */
static void scores_are_unbiased_for_the_kernel(void ** state) {
    (void)state;
    enum { N = 100, SEEDS = 300, TABLES = 20, BITS = 3, DIM = 16 };
    const struct select_shape shape = {2, 1, DIM, N, VATTN_TYPE_F16, 0.5};
    static const double tau[] = {0.3, 0.05, 1e-7};
    for (int i = 0; i < 3; i++) {
        struct vattn_selector_options o = select_options(VATTN_METHOD_SOCKET);
        struct layer l;
        float score[N];
        double mean[2][N] = {{0.0}}, square[2][N] = {{0.0}}, worst = 0.0, low = 1.0, high = 0.0;
        o.socket_k = BITS;
        o.socket_l = TABLES;
        o.socket_tau = tau[i];
        select_layer(&l, &shape, o.kind, 52);
        for (o.seed = 0; o.seed < SEEDS; o.seed++) {
            struct vattn_selector * s = select_make(&l, &o, NULL);
            for (int32_t h = 0; h < 2; h++) {
                select_score(s, &l, h, N, score);
                for (int r = 0; r < N; r++) {
                    double p = (double)score[r] / value_norm(&l, 0, r) / TABLES;
                    mean[h][r] += p / SEEDS;
                    square[h][r] += p * p / SEEDS;
                }
            }
            vattn_selector_free(s);
        }
        for (int32_t h = 0; h < 2; h++) {
            for (int r = 0; r < N; r++) {
                double angle = select_angle(&l, h, r), p = expected(select_query_norm(&l, h), angle, DIM, BITS, tau[i]);
                double sd = sqrt((square[h][r] - mean[h][r] * mean[h][r]) / SEEDS);
                if (i == 2) { /* soft becomes hard */
                    assert_true(fabs(p - pow(1.0 - angle / acos(-1.0), BITS)) < 1e-3);
                }
                worst = fmax(worst, fabs(mean[h][r] - p) / sd);
                low = fmin(low, p);
                high = fmax(high, p);
            }
        }
        print_message("tau %g: expectations %.3f to %.3f; the worst of %d deviates by %.2f sd\n", tau[i], low, high,
                      2 * N, worst);
        assert_true(high > 1.3 * low && worst < 4.5);
        layer_free(&l);
    }
}

/* Values of equal length, so that keys alone decide. */
static void more_tables_find_more(void ** state) {
    (void)state;
    const struct select_shape shape = {4, 2, 32, 600, VATTN_TYPE_F16, 0.0};
    double last = 0.0;
    for (int32_t tables = 1; tables <= 64; tables *= 8) {
        struct vattn_selector_options o = select_options(VATTN_METHOD_SOCKET);
        struct layer l;
        double recall = 0.0;
        o.socket_k = 6;
        o.socket_l = tables;
        select_layer(&l, &shape, o.kind, 53);
        for (size_t e = 0; e < 600 * 2 * 32; e++) {
            ((uint16_t *)l.v)[e] = 0x3c00;
        }
        for (o.seed = 0; o.seed < 5; o.seed++) {
            struct vattn_selector * s = select_make(&l, &o, NULL);
            recall += select_recall(s, &l, 60) / 5.0;
            vattn_selector_free(s);
        }
        print_message("%2d tables of 6 bits: %.3f of the best tenth\n", tables, recall);
        assert_true(recall > last + 0.05);
        last = recall;
        layer_free(&l);
    }
}

static void common_checks_and_refusals(void ** state) {
    (void)state;
    struct vattn_selector_options o = select_options(VATTN_METHOD_SOCKET);
    struct layer l;
    select_check_kind(&o);
    select_layer(&l, &select_shapes[0], o.kind, 54);
    struct vattn_selector * s = select_make(&l, &o, NULL);
    assert_int_equal(s->opt.socket_k, 10); /* as published */
    assert_int_equal(s->opt.socket_l, 60);
    assert_true(s->opt.socket_tau == 0.3);
    vattn_selector_free(s);
    ((uint16_t *)l.v)[5] = 0x7e00;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_NOT_FINITE);
    const void * v = l.kv.v;
    l.kv.v = NULL;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    l.kv.v = v;
    ((uint16_t *)l.v)[5] = 0;
    o.socket_k = 13;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.socket_k = 12;
    o.socket_tau = -0.3;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.socket_tau = NAN;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.socket_tau = 1e300;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_OK);
    o.socket_l = -1;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_twin), cmocka_unit_test(scores_are_unbiased_for_the_kernel),
        cmocka_unit_test(more_tables_find_more), cmocka_unit_test(common_checks_and_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
