/* SPDX-License-Identifier: MIT
 *
 * Selectors: what vattn_selector_create accepts, what it reports, and the oracle's scores.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "select/selector.h"
#include "unit/layer.h"

enum { HEADS = 4, KV_HEADS = 2, DIM = 24, N = 300 };

static struct vattn_selector_options options(enum vattn_method kind) {
    return (struct vattn_selector_options){.struct_size = sizeof(struct vattn_selector_options), .kind = kind};
}

static void defaults_and_refusals(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(HEADS, KV_HEADS, DIM, N);
    struct layer l;
    layer_make(&l, &o, 3);
    struct vattn_selector * s = NULL;
    struct vattn_selector_options so = options(VATTN_METHOD_TOPK_ORACLE);
    assert_int_equal(vattn_selector_create(l.plan, &l.kv, &so, NULL, &s), VATTN_STATUS_OK);
    assert_int_equal(s->n_keys, N);
    assert_int_equal(s->opt.page, 16);
    assert_int_equal(s->opt.lsh_l, 150);
    assert_int_equal(vattn_selector_bytes(s), 0);
    vattn_selector_free(s);

    so.kind = VATTN_METHOD_EXACT;
    assert_int_equal(vattn_selector_create(l.plan, &l.kv, &so, NULL, &s), VATTN_STATUS_UNSUPPORTED);
    assert_null(s);
    so = options(VATTN_METHOD_TOPK_ORACLE);
    so.struct_size--;
    assert_int_equal(vattn_selector_create(l.plan, &l.kv, &so, NULL, &s), VATTN_STATUS_INVALID_ARGUMENT);
    so = options(VATTN_METHOD_TOPP_ORACLE);
    so.top_p = 1.5;
    assert_int_equal(vattn_selector_create(l.plan, &l.kv, &so, NULL, &s), VATTN_STATUS_INVALID_ARGUMENT);
    so = options(VATTN_METHOD_TOPK_ORACLE);
    so.lsh_l = 1; /* two collisions in one table */
    assert_int_equal(vattn_selector_create(l.plan, &l.kv, &so, NULL, &s), VATTN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(vattn_selector_create(l.plan, NULL, &so, NULL, &s), VATTN_STATUS_INVALID_ARGUMENT);
    vattn_selector_free(NULL);
    layer_free(&l);
}

static void the_oracle_knows_the_scores(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(HEADS, KV_HEADS, DIM, N);
    struct layer l;
    struct vattn_selector * s = NULL;
    struct vattn_selector_options so = options(VATTN_METHOD_TOPK_ORACLE);
    float score[N];
    layer_make(&l, &o, 4);
    assert_int_equal(vattn_selector_create(l.plan, &l.kv, &so, NULL, &s), VATTN_STATUS_OK);
    assert_true(s->kind->reads_keys);
    for (int32_t h = 0; h < HEADS; h++) {
        const float * q = l.q + h * DIM;
        assert_int_equal(s->kind->score(s, &l.kv, h, q, N, score, NULL), 0);
        for (int r = 0; r < N; r++) {
            double exact = 0.0;
            for (int a = 0; a < DIM; a++) {
                exact += (double)q[a] * (double)l.k32[((size_t)r * KV_HEADS + (size_t)(h / 2)) * DIM + (size_t)a];
            }
            assert_true(fabs(exact - (double)score[r]) < 1e-3);
        }
    }
    vattn_selector_free(s);
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults_and_refusals),
                                       cmocka_unit_test(the_oracle_knows_the_scores)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
