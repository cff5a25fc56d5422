/* SPDX-License-Identifier: MIT */
#include "half.h"
#include "methods.h"
#include "second_moment.h"
#include "truth.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

/* Two steps, two heads on one KV head, rows of two numbers. */
static const float q[] = {0, 0, 0, 0, 1, 0, 1000, 0};
static const float k[] = {1, 0, 3, 0, 2, 5};
static const float v[] = {2, 0, 4, 8, 100, 100};
static const int32_t n[] = {2, 2};

static struct capture small_capture(void) {
    return (struct capture){.n_steps = 2,
                            .n_heads = 2,
                            .n_kv_heads = 1,
                            .head_dim = 2,
                            .v_dim = 2,
                            .n_keys = 3,
                            .k_type = VATTN_TYPE_F32,
                            .v_type = VATTN_TYPE_F32,
                            .scale = 0.5f,
                            .q = q,
                            .n = n,
                            .k = k,
                            .v = v};
}

static void truth_is_softmax(void ** state) {
    const struct capture capture = small_capture();
    struct truth t = truth_attend(&capture, 0, 1); /* equal scores: the mean of the two visible rows */
    (void)state;
    assert_true(fabs(t.out[0] - 3) < 1e-15 && fabs(t.out[1] - 4) < 1e-15);
    assert_true(fabs(t.log_d[0] - log(2)) < 1e-15);
    truth_free(&t);
    t = truth_attend(&capture, 1, 2); /* scores .5 and 1.5 */
    assert_true(fabs(t.out[0] - (2 + 4 * exp(1)) / (1 + exp(1))) < 1e-14);
    assert_true(fabs(t.log_d[0] - log(exp(0.5) + exp(1.5))) < 1e-15);
    assert_true(t.out[2] == 4 && t.out[3] == 8); /* scores 500 and 1500: no overflow, all weight on the second */
    assert_true(t.log_d[1] == 1500);
    truth_free(&t);
}

/* Forty rows with scores 0, 1, ...: the two largest hold all but 1/e^2 of the softmax, nearly. */
static void tail_is_what_the_largest_rows_leave(void ** state) {
    float one[40], row[40];
    int32_t visible = 40;
    double sum = 0;
    for (int i = 0; i < 40; i++) {
        one[i] = (float)(i * 7 % 40);
        row[i] = 1;
        sum += exp(i);
    }
    const float unit = 1;
    const struct capture capture = {.n_steps = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 1, .v_dim = 1, .n_keys = 40,
                                    .k_type = VATTN_TYPE_F32, .v_type = VATTN_TYPE_F32, .scale = 1, .q = &unit,
                                    .n = &visible, .k = one, .v = row};
    struct truth t = truth_attend(&capture, 0, 1);
    (void)state;
    assert_true(fabs(t.tail[0] - (1 - (exp(39) + exp(38)) / sum)) < 1e-12);
    truth_free(&t);
}

static void errors_are_relative(void ** state) {
    const double truth[2] = {3, 4}, zero[2] = {0, 0};
    const float near[2] = {3, 4.5f}, nothing[2] = {0, 0}, nan_[2] = {NAN, 4}, half[2] = {1.5f, 2};
    (void)state;
    assert_true(fabs(truth_relative_error(near, 1, truth, 2) - 0.1) < 1e-15);
    assert_true(truth_relative_error(half, 2, truth, 2) == 0);
    assert_true(truth_relative_error(nothing, 1, zero, 2) == 0);
    assert_true(isinf(truth_relative_error(near, 1, zero, 2)));
    assert_true(isinf(truth_relative_error(nan_, 1, truth, 2)));
}

static void halves_survive_the_round_trip(void ** state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++)
        if ((h & 0x7fff) <= 0x7c00)
            assert_int_equal(half_from_float(half_to_float((uint16_t)h)), h);
    assert_true(isnan(half_to_float(0x7e01)));
    assert_int_equal(half_from_float(1.0f + 0x1p-11f), 0x3c00); /* tie to even */
    assert_int_equal(half_from_float(1.0f + 0x1.8p-10f), 0x3c02);
    assert_int_equal(half_from_float(65519.0f), 0x7bff);
    assert_int_equal(half_from_float(65520.0f), 0x7c00);
    assert_int_equal(half_from_float(0x1.ffep-15f), 0x0400); /* rounds up into the normal numbers */
}

static void second_moment_is_the_mean_over_steps_and_heads(void ** state) {
    const struct capture capture = small_capture();
    float * moment = second_moment_of_steps(&capture, 2);
    (void)state;
    assert_true(fabs((double)moment[0] - 1000001.0 / 4) < 0.1);
    assert_true(moment[1] == 0 && moment[3] == 0);
    free(moment);
}

static void every_method_of_the_list_is_known(void ** state) {
    (void)state;
    for (int i = 0; i < method_count; i++) {
        enum vattn_method method;
        assert_true(vattn_method_parse(method_table[i].name, &method));
        assert_int_equal(method, method_table[i].method);
        assert_string_equal(vattn_method_name(method), method_table[i].name);
    }
}

static void every_method_is_in_the_list(void ** state) {
    (void)state;
    for (int m = 0; m < VATTN_METHOD_COUNT; m++)
        assert_int_equal(method_entry_of((enum vattn_method)m)->method, m);
}

static void parameters_reach_the_options(void ** state) {
    struct vattn_options o = {0};
    struct method_parameters p = method_parameters_init();
    (void)state;
    method_set_parameter(&o, &p, "sink=0");
    method_set_parameter(&o, &p, "window=7");
    method_set_parameter(&o, &p, "topk=0.1");
    method_set_parameter(&o, &p, "base=64");
    method_set_parameter(&o, &p, "code_bits=3");
    method_set_parameter(&o, &p, "selector=quest");
    method_set_parameter(&o, &p, "page=32");
    method_set_parameter(&o, &p, "top_p=0.75");
    method_set_parameter(&o, &p, "hash_weights=w.st");
    assert_int_equal(o.sink, -1); /* zero means default in the library: none is -1 */
    assert_int_equal(o.window, 7);
    assert_true(o.paper_topk == 0.1 && o.paper_base == 64 && o.code_bits == 3);
    assert_true(p.selector.kind == VATTN_METHOD_QUEST && p.selector.page == 32 && p.selector.top_p == 0.75);
    assert_string_equal(p.hash_weights, "w.st");
    method_set_parameter(&o, &p, "window=0.25"); /* a share waits for n */
    assert_true(o.window == 0 && p.window_share == 0.25);
    method_set_parameter(&o, &p, "window=9");
    assert_true(o.window == 9 && p.window_share == 0);
    method_set_parameter(&o, &p, "topk=0"); /* none, not the default */
    assert_true(o.paper_topk > 0 && o.paper_topk < 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truth_is_softmax),
        cmocka_unit_test(tail_is_what_the_largest_rows_leave),
        cmocka_unit_test(errors_are_relative),
        cmocka_unit_test(halves_survive_the_round_trip),
        cmocka_unit_test(second_moment_is_the_mean_over_steps_and_heads),
        cmocka_unit_test(every_method_of_the_list_is_known),
        cmocka_unit_test(every_method_is_in_the_list),
        cmocka_unit_test(parameters_reach_the_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
