/* SPDX-License-Identifier: MIT
 *
 * Quest: scores against a twin, the bound that they are, whole pages.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bits.h"
#include "unit/drive.h"
#include "unit/select_case.h"

enum { MOST = 700 };

/* sum_d max(q_d low_d, q_d high_d) over the rows [begin, end), and the sum of sizes that rounding is relative to. */
static double twin(const struct layer * l, int32_t head, int64_t begin, int64_t end, double * size) {
    int32_t g = select_kv_head(l, head);
    double sum = 0.0;
    *size = 0.0;
    for (int32_t a = 0; a < l->options.head_dim; a++) {
        double q = (double)l->q[head * l->options.head_dim + a], low = INFINITY, high = -INFINITY;
        for (int64_t r = begin; r < end && r < l->kv.n_keys; r++) {
            low = fmin(low, select_key(l, g, r, a));
            high = fmax(high, select_key(l, g, r, a));
        }
        sum += fmax(q * low, q * high);
        *size += fabs(q) * fmax(fabs(low), fabs(high));
    }
    return sum;
}

static void agrees_with_twin(void ** state) {
    (void)state;
    static const int32_t pages[] = {1, 5, 16, 64};
    for (int i = 0; i < n_select_shapes; i++) {
        for (int j = 0; j < 4; j++) {
            struct layer l;
            struct vattn_selector_options o = select_options(VATTN_METHOD_QUEST);
            float score[MOST];
            o.page = pages[j];
            select_layer(&l, &select_shapes[i], VATTN_METHOD_QUEST, 100 + (uint64_t)i);
            struct vattn_selector * s = select_make(&l, &o, NULL);
            const int64_t n = l.kv.n_keys, n_pages = (n + o.page - 1) / o.page;
            const int64_t bounds = 2 * n_pages * l.options.head_dim * (int64_t)vattn_row_size(l.options.k_type, 1);
            assert_int_equal(vattn_selector_bytes(s), bounds * l.options.n_kv_heads);
            for (int32_t h = 0; h < l.options.n_heads; h++) {
                assert_int_equal(select_score(s, &l, h, n, score), vattn_selector_shared(s, h, bounds));
                for (int64_t r = 0; r < n; r++) {
                    int64_t begin = r / o.page * o.page;
                    double size, expected = twin(&l, h, begin, begin + o.page, &size);
                    assert_true(fabs((double)score[r] - expected) <= 1e-5 * size);
                    assert_true((double)score[r] >= select_dot(&l, h, r) - 1e-5 * size); /* the bound */
                    assert_true(o.page > 1 || (double)score[r] <= select_dot(&l, h, r) + 1e-5 * size);
                }
            }
            vattn_selector_free(s);
            layer_free(&l);
        }
    }
}

/* Without sinks and window, and with whole pages only, a page is read whole or not at all. */
static void pages_are_read_whole(void ** state) {
    (void)state;
    enum { N = 40 * 16 };
    for (int i = 0; i < 4; i++) {
        static const double k[] = {1, 16, 17, 0.3};
        struct vattn_options o = layer_options(2, 2, 32, N);
        struct vattn_selector_options so = select_options(VATTN_METHOD_QUEST);
        struct layer l;
        o.method = VATTN_METHOD_QUEST;
        o.sink = o.window = -1;
        o.paper_topk = k[i] > 1 ? k[i] : k[i] == 1 ? 1.0 / N : k[i];
        layer_make(&l, &o, 7);
        struct vattn_selector * s = select_make(&l, &so, NULL);
        free(l.work);
        l.work_bytes = vattn_selector_call_bytes(l.plan, s);
        l.work = aligned_alloc(64, l.work_bytes);
        struct vattn_input in = layer_input(&l, 1);
        in.selector = s;
        assert_true(drive(&l, &in, 1) >= 0);
        static const int64_t pages[] = {1, 1, 2, 12};
        for (int h = 0; h < 2; h++) {
            float score[N];
            assert_int_equal(l.cert[h].rows_kv, 16 * pages[i]);
            select_score(s, &l, h, N, score);
            for (int r = 0; r < N; r++) {
                assert_true(score[r] == score[r / 16 * 16]);
            }
        }
        vattn_selector_free(s);
        layer_free(&l);
    }
}

/* A page is in the bound's favour: the best key of all is in the best pages more often than chance would have it. */
static void finds_the_best_rows(void ** state) {
    (void)state;
    double last = 0.0;
    for (int32_t page = 64; page >= 1; page /= 8) {
        const struct select_shape shape = {4, 2, 32, 600, VATTN_TYPE_F16, 0.0};
        struct vattn_selector_options o = select_options(VATTN_METHOD_QUEST);
        struct layer l;
        o.page = page;
        select_layer(&l, &shape, VATTN_METHOD_QUEST, 8);
        struct vattn_selector * s = select_make(&l, &o, NULL);
        double recall = select_recall(s, &l, 60);
        print_message("page %d: %.2f of the best tenth\n", page, recall);
        assert_true(recall > last);
        last = recall;
        vattn_selector_free(s);
        layer_free(&l);
    }
    assert_true(last > 0.99); /* pages of one row are exact */
}

static void common_checks_and_refusals(void ** state) {
    (void)state;
    struct vattn_selector_options o = select_options(VATTN_METHOD_QUEST);
    struct layer l;
    select_check_kind(&o);
    select_layer(&l, &select_shapes[0], VATTN_METHOD_QUEST, 9);
    o.page = -1;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.page = 4097;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.page = 4096; /* one page */
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_OK);
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_twin), cmocka_unit_test(pages_are_read_whole),
                                       cmocka_unit_test(finds_the_best_rows),
                                       cmocka_unit_test(common_checks_and_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
