/* SPDX-License-Identifier: MIT
 *
 * PQCache: codes, centroids and scores against twins, and what product quantisation is known for.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "select/pack.h"
#include "select/pq.h"
#include "unit/select_case.h"

enum { MOST = 700 };

static int32_t code_of(const struct vattn_selector * s, int32_t g, int64_t row, int32_t j) {
    const struct vattn_pq * p = s->state;
    const uint8_t * code = p->code + ((size_t)g * (size_t)s->n_keys + (size_t)row) * p->code_bytes;
    return (int32_t)vattn_unpack(code, (size_t)(j * s->opt.pq_bits), s->opt.pq_bits);
}

static double centroid(const struct vattn_selector * s, int32_t g, int32_t j, int32_t c, int32_t a) {
    int32_t begin = vattn_pq_begin(s, j), dim = vattn_pq_begin(s, j + 1) - begin;
    return (double)vattn_pq_centroids(s, g, j)[c * dim + a - begin];
}

/* || sub-vector j of a key - centroid c ||^2 */
static double square(const struct layer * l, const struct vattn_selector * s, int32_t g, int64_t row, int32_t j,
                     int32_t c) {
    double sum = 0.0;
    for (int32_t a = vattn_pq_begin(s, j); a < vattn_pq_begin(s, j + 1); a++) {
        sum += pow(select_key(l, g, row, a) - centroid(s, g, j, c, a), 2);
    }
    return sum;
}

/* <q, key as its codes say> */
static double twin_score(const struct layer * l, const struct vattn_selector * s, int32_t head, int64_t row,
                         double * size) {
    int32_t g = select_kv_head(l, head);
    double sum = 0.0;
    *size = 0.0;
    for (int32_t j = 0; j < s->opt.pq_groups; j++) {
        for (int32_t a = vattn_pq_begin(s, j); a < vattn_pq_begin(s, j + 1); a++) {
            double x = (double)l->q[head * l->options.head_dim + a] * centroid(s, g, j, code_of(s, g, row, j), a);
            sum += x;
            *size += fabs(x);
        }
    }
    return sum;
}

/* Every code is that of the nearest centroid. */
static void check_codes(const struct layer * l, const struct vattn_selector * s, int32_t g) {
    const struct vattn_pq * p = s->state;
    for (int64_t r = 0; r < s->n_keys; r++) {
        for (int32_t j = 0; j < s->opt.pq_groups; j++) {
            double best = INFINITY, own = square(l, s, g, r, j, code_of(s, g, r, j)), length = 0.0;
            for (int32_t c = 0; c < p->n_centroids; c++) {
                best = fmin(best, square(l, s, g, r, j, c));
            }
            for (int32_t a = vattn_pq_begin(s, j); a < vattn_pq_begin(s, j + 1); a++) {
                length += pow(select_key(l, g, r, a), 2);
            }
            assert_true(own <= best + 1e-5 * (length + best));
        }
    }
}

static void agrees_with_twin(void ** state) {
    (void)state;
    static const int32_t groups[] = {0, 1, 3, 5}, bits[] = {0, 3, 5, 8};
    for (int i = 0; i < n_select_shapes; i++) {
        for (int v = 0; v < 4; v++) {
            struct layer l;
            struct vattn_selector_options o = select_options(VATTN_METHOD_PQ);
            float score[MOST];
            o.pq_groups = groups[v] < select_shapes[i].dim ? groups[v] : 1;
            o.pq_bits = bits[v];
            select_layer(&l, &select_shapes[i], o.kind, 300 + (uint64_t)i);
            struct vattn_selector * s = select_make(&l, &o, NULL);
            const struct vattn_pq * p = s->state;
            const int64_t n = l.kv.n_keys;
            const int64_t code_bytes = (s->opt.pq_groups * s->opt.pq_bits + 7) / 8;
            assert_int_equal(p->n_centroids, n < 1 << s->opt.pq_bits ? n : 1 << s->opt.pq_bits);
            const int64_t bytes = n * code_bytes + p->n_centroids * l.options.head_dim * 4;
            assert_int_equal(vattn_selector_bytes(s), bytes * l.options.n_kv_heads);
            for (int32_t h = 0; h < l.options.n_heads; h++) {
                check_codes(&l, s, select_kv_head(&l, h));
                assert_int_equal(select_score(s, &l, h, n, score), vattn_selector_shared(s, h, bytes));
                for (int64_t r = 0; r < n; r++) {
                    double size, twin = twin_score(&l, s, h, r, &size);
                    assert_true(fabs((double)score[r] - twin) <= 1e-5 * size);
                }
            }
            vattn_selector_free(s);
            layer_free(&l);
        }
    }
}

/* Given enough steps, every centroid is the mean of the rows that have its code; sinks took no part. */
static void centroids_are_means(void ** state) {
    (void)state;
    const struct select_shape shape = {2, 2, 20, 500, VATTN_TYPE_F16, 0.5};
    struct vattn_selector_options o = select_options(VATTN_METHOD_PQ);
    struct layer l;
    o.pq_bits = 4;
    o.pq_iterations = 1000;
    select_layer(&l, &shape, o.kind, 31);
    struct vattn_selector * s = select_make(&l, &o, NULL);
    const int64_t sink = l.options.sink;
    assert_int_equal(sink, 4);
    for (int32_t g = 0; g < 2; g++) {
        for (int32_t j = 0; j < 2; j++) {
            for (int32_t c = 0; c < 16; c++) {
                for (int32_t a = vattn_pq_begin(s, j); a < vattn_pq_begin(s, j + 1); a++) {
                    double sum = 0.0, count = 0.0;
                    for (int64_t r = sink; r < 500; r++) {
                        sum += code_of(s, g, r, j) == c ? select_key(&l, g, r, a) : 0.0;
                        count += code_of(s, g, r, j) == c;
                    }
                    assert_true(count > 0.0 && fabs(sum / count - centroid(s, g, j, c, a)) < 1e-3);
                }
            }
        }
    }
    vattn_selector_free(s);
    layer_free(&l);
}

/* As many centroids as rows, or one for each element and rows that have few values: nothing is lost. */
static void enough_centroids_are_exact(void ** state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct select_shape shape = {4, 2, 24, i == 0 ? 64 : 600, VATTN_TYPE_F16, i == 0 ? 1.0 : 0.0};
        struct vattn_selector_options o = select_options(VATTN_METHOD_PQ);
        struct layer l;
        float score[MOST];
        o.pq_groups = i == 0 ? 2 : 24;
        o.pq_bits = i == 0 ? 6 : 3;
        o.pq_iterations = 50;
        select_layer(&l, &shape, o.kind, 32);
        for (int64_t e = 0; e < 600 * 2 * 24 && i == 1; e++) { /* -2 ... 2: five values in every element */
            l.k32[e] = (float)((e * 7 + e / 48 * 3) % 5 - 2);
            static const uint16_t half[] = {0xc000, 0xbc00, 0, 0x3c00, 0x4000};
            ((uint16_t *)l.k)[e] = half[(int)l.k32[e] + 2];
        }
        struct vattn_selector * s = select_make(&l, &o, NULL);
        for (int32_t h = 0; h < 4; h++) {
            select_score(s, &l, h, shape.n, score);
            for (int64_t r = 0; r < shape.n; r++) {
                double exact = select_dot(&l, h, r);
                assert_true(fabs((double)score[r] - exact) < 1e-4 * (1.0 + fabs(exact)));
            }
        }
        vattn_selector_free(s);
        layer_free(&l);
    }
}

static double distortion(const struct layer * l, const struct vattn_selector * s) {
    double sum = 0.0;
    for (int32_t g = 0; g < l->options.n_kv_heads; g++) {
        for (int64_t r = l->options.sink; r < s->n_keys; r++) {
            for (int32_t j = 0; j < s->opt.pq_groups; j++) {
                sum += square(l, s, g, r, j, code_of(s, g, r, j));
            }
        }
    }
    return sum;
}

/* Steps never make it worse, bits and sub-vectors make it better, and so the best rows are found more often. */
static void more_of_everything_helps(void ** state) {
    (void)state;
    static const int32_t groups[] = {2, 2, 2, 2, 2, 4, 8}, bits[] = {4, 4, 4, 4, 6, 6, 8},
                         steps[] = {1, 2, 5, 100, 100, 100, 100};
    const struct select_shape shape = {4, 2, 32, 600, VATTN_TYPE_F16, 0.0};
    double last = INFINITY, recall[7];
    for (int i = 0; i < 7; i++) {
        struct vattn_selector_options o = select_options(VATTN_METHOD_PQ);
        struct layer l;
        o.pq_groups = groups[i];
        o.pq_bits = bits[i];
        o.pq_iterations = steps[i];
        select_layer(&l, &shape, o.kind, 33);
        struct vattn_selector * s = select_make(&l, &o, NULL);
        double now = distortion(&l, s);
        recall[i] = select_recall(s, &l, 60);
        print_message("%d x %d bits, %3d steps: distortion %.0f, %.3f of the best tenth\n", groups[i], bits[i],
                      steps[i], now, recall[i]);
        assert_true(now < last);
        last = now;
        vattn_selector_free(s);
        layer_free(&l);
    }
    assert_true(recall[4] > recall[3] && recall[5] > recall[4] && recall[6] > recall[5] && recall[6] > 0.8);
}

static void seeds_matter(void ** state) {
    (void)state;
    const struct select_shape shape = {1, 1, 16, 400, VATTN_TYPE_F16, 0.0};
    struct vattn_selector_options o = select_options(VATTN_METHOD_PQ);
    struct layer l;
    float score[2][400];
    select_layer(&l, &shape, o.kind, 34);
    for (int i = 0; i < 2; i++) {
        o.seed = (uint64_t)i << 40;
        struct vattn_selector * s = select_make(&l, &o, NULL);
        select_score(s, &l, 0, 400, score[i]);
        vattn_selector_free(s);
    }
    assert_memory_not_equal(score[0], score[1], sizeof score[0]);
    layer_free(&l);
}

/* Equal keys leave centroids without points; nothing to take them from. */
static void equal_keys(void ** state) {
    (void)state;
    const struct select_shape shape = {1, 1, 16, 300, VATTN_TYPE_F32, 0.0};
    struct vattn_selector_options o = select_options(VATTN_METHOD_PQ);
    struct layer l;
    float score[300];
    select_layer(&l, &shape, o.kind, 35);
    for (size_t e = 16; e < 300 * 16; e++) {
        l.k32[e] = ((float *)l.k)[e] = l.k32[e % 16];
    }
    struct vattn_selector * s = select_make(&l, &o, NULL);
    select_score(s, &l, 0, 300, score);
    for (int r = 0; r < 300; r++) {
        assert_true(fabs((double)score[r] - select_dot(&l, 0, 0)) < 1e-3);
    }
    vattn_selector_free(s);
    layer_free(&l);
}

static void common_checks_and_refusals(void ** state) {
    (void)state;
    struct vattn_selector_options o = select_options(VATTN_METHOD_PQ);
    struct layer l;
    select_check_kind(&o);
    select_layer(&l, &select_shapes[0], o.kind, 36);
    o.pq_groups = 25; /* more than there are elements */
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.pq_groups = 24;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_OK);
    o.pq_bits = 13;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.pq_bits = 12;
    o.pq_iterations = -1;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_twin),
                                       cmocka_unit_test(centroids_are_means),
                                       cmocka_unit_test(enough_centroids_are_exact),
                                       cmocka_unit_test(more_of_everything_helps),
                                       cmocka_unit_test(seeds_matter),
                                       cmocka_unit_test(equal_keys),
                                       cmocka_unit_test(common_checks_and_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
