/* SPDX-License-Identifier: MIT
 *
 * Exact attention against double precision, over shapes, types, masks; partial results; thread counts; bad input.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/half.h"
#include "unit/drive.h"
#include "unit/layer.h"

static void agrees(int32_t heads, int32_t kv_heads, int32_t d, int32_t dv, int64_t n, enum vattn_type type) {
    struct vattn_options o = layer_options(heads, kv_heads, d, n);
    struct layer l;
    o.v_dim = dv;
    o.k_type = o.v_type = type;
    layer_make(&l, &o, 11);
    struct vattn_input in = layer_input(&l, 1);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    double error = layer_error(&l);
    if (!(error < 1e-5)) {
        print_message("%d/%d heads of %d/%d, n %lld: error %g\n", heads, kv_heads, d, dv, (long long)n, error);
    }
    assert_true(error < 1e-5);
    for (int32_t h = 0; h < heads; h++) {
        assert_int_equal(l.cert[h].answer, VATTN_ANSWER_EXACT);
        assert_int_equal(l.cert[h].rows_kv, n);
    }
    layer_free(&l);
}

static void shapes(void ** state) {
    (void)state;
    static const int64_t n[] = {1, 2, 63, 64, 65, 511, 513, 1500};
    for (size_t i = 0; i < sizeof n / sizeof n[0]; i++) {
        agrees(4, 2, 64, 64, n[i], VATTN_TYPE_F16);
        agrees(7, 1, 40, 24, n[i], VATTN_TYPE_F32);
    }
    agrees(9, 3, 64, 64, 3000, VATTN_TYPE_F16);
    agrees(14, 2, 64, 64, 5000, VATTN_TYPE_F16);
    agrees(32, 8, 128, 128, 700, VATTN_TYPE_F16);
    agrees(20, 1, 576, 512, 300, VATTN_TYPE_F16);
    agrees(3, 3, 1, 1, 100, VATTN_TYPE_F32);
}

static void masks(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(6, 2, 64, 1000);
    struct layer l;
    uint64_t visible[16] = {0};
    layer_make(&l, &o, 5);
    for (int64_t r = 0; r < 1000; r++) {
        if (r < 128 || (r % 3 == 0 && r < 900)) {
            vattn_bit_set(visible, r);
        } else { /* hidden rows may hold anything */
            uint16_t * k = (uint16_t *)l.k + r * 2 * 64;
            memset(k, 0xff, 2 * 64 * sizeof *k);
            memset((uint16_t *)l.v + r * 2 * 64, 0xff, 2 * 64 * sizeof *k);
        }
    }
    l.kv.visible = visible;
    struct vattn_input in = layer_input(&l, 1);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    assert_true(layer_error(&l) < 1e-5);
    memset(visible, 0, sizeof visible);
    memset(l.out, 0xff, 6 * 64 * sizeof(float));
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    for (int i = 0; i < 6 * 64; i++) {
        assert_true(l.out[i] == 0.0F);
    }
    layer_free(&l);
}

static void partials_merge(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(4, 2, 64, 1000);
    struct layer l;
    layer_make(&l, &o, 9);
    size_t bytes = vattn_partial_bytes(l.plan);
    float *a = malloc(bytes), *b = malloc(bytes);
    assert_int_equal(vattn_partial_attend(l.plan, &l.kv, l.q, 0, 448, l.work, l.work_bytes, a), VATTN_STATUS_OK);
    assert_int_equal(vattn_partial_attend(l.plan, &l.kv, l.q, 448, 1000, l.work, l.work_bytes, b), VATTN_STATUS_OK);
    vattn_partial_merge(l.plan, a, b);
    assert_int_equal(vattn_partial_attend(l.plan, &l.kv, l.q, 960, 960, l.work, l.work_bytes, b), VATTN_STATUS_OK);
    vattn_partial_merge(l.plan, a, b); /* the empty range is neutral */
    vattn_partial_finish(l.plan, a, l.out, 0);
    assert_true(layer_error(&l) < 1e-5);
    assert_int_equal(vattn_partial_attend(l.plan, &l.kv, l.q, 3, 1000, l.work, l.work_bytes, b),
                     VATTN_STATUS_INVALID_ARGUMENT);
    free(a);
    free(b);
    layer_free(&l);
}

static void threads_do_not_matter(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(14, 2, 64, 9000);
    struct layer l;
    float one[14 * 64];
    layer_make(&l, &o, 3);
    struct vattn_input in = layer_input(&l, 1);
    assert_int_equal(drive(&l, &in, 1), VATTN_STATUS_OK);
    memcpy(one, l.out, sizeof one);
    static const int counts[] = {2, 5};
    for (int i = 0; i < 2; i++) {
        memset(l.out, 0, sizeof one);
        assert_int_equal(drive(&l, &in, counts[i]), VATTN_STATUS_OK);
        assert_memory_equal(one, l.out, sizeof one);
    }
    layer_free(&l);
}

static void bad_input(void ** state) {
    (void)state;
    struct vattn_plan * plan;
    const char * reason = NULL;
    struct vattn_options good = layer_options(4, 2, 64, 100), o = good;
    o.n_kv_heads = 3;
    assert_int_equal(vattn_plan_create(&o, &plan, &reason), VATTN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(reason, "n_kv_heads"));
    o = good;
    o.k_type = (enum vattn_type)VATTN_TYPE_COUNT;
    assert_int_equal(vattn_plan_create(&o, &plan, &reason), VATTN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(reason, "k_type"));
    o = good; /* rows of blocks */
    o.head_dim = o.v_dim = 80;
    o.k_type = VATTN_TYPE_Q8_0;
    assert_int_equal(vattn_plan_create(&o, &plan, &reason), VATTN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(reason, "32"));
    o.k_type = VATTN_TYPE_F16;
    o.v_type = VATTN_TYPE_Q8_0;
    assert_int_equal(vattn_plan_create(&o, &plan, &reason), VATTN_STATUS_INVALID_ARGUMENT);
    o = good;
    o.logit_softcap = 30.0F;
    assert_int_equal(vattn_plan_create(&o, &plan, &reason), VATTN_STATUS_UNSUPPORTED);
    o = good;
    o.eps = 2.0;
    assert_int_equal(vattn_plan_create(&o, &plan, &reason), VATTN_STATUS_INVALID_ARGUMENT);
    o = good;
    o.struct_size = 8;
    assert_int_equal(vattn_plan_create(&o, &plan, &reason), VATTN_STATUS_INVALID_ARGUMENT);
    struct layer l;
    layer_make(&l, &good, 1);
    struct vattn_input in = layer_input(&l, 1);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, 64), VATTN_STATUS_NO_MEMORY);
    l.kv.n_keys = 101;
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_INVALID_ARGUMENT);
    l.kv.n_keys = 100;
    l.q[5] = NAN;
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_NOT_FINITE);
    l.q[5] = 1.0F;
    ((uint16_t *)l.v)[77] = 0x7e00; /* NaN */
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_NOT_FINITE);
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(masks),
                                       cmocka_unit_test(partials_merge), cmocka_unit_test(threads_do_not_matter),
                                       cmocka_unit_test(bad_input)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
