/* SPDX-License-Identifier: MIT
 *
 * Rows of every type through the whole library: storing and reading them, exact, sparse and strict attention over pairs of
 * types, the index, hidden and broken rows, selectors.  Twins see the rows as stored.
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
#include "unit/drive.h"
#include "unit/layer.h"
#include "vattn_experimental.h"

static const enum vattn_type types[] = {VATTN_TYPE_F32, VATTN_TYPE_F16, VATTN_TYPE_BF16, VATTN_TYPE_Q8_0};

static struct vattn_options options(enum vattn_type k, enum vattn_type v, int64_t n) {
    struct vattn_options o = layer_options(6, 2, 64, n);
    o.k_type = k;
    o.v_type = v;
    return o;
}

/* ------------------------------------------------------------------------------------------------------------- rows */

static void sizes(void ** state) {
    (void)state;
    assert_int_equal(vattn_row_bytes(VATTN_TYPE_F32, 80), 320);
    assert_int_equal(vattn_row_bytes(VATTN_TYPE_F16, 80), 160);
    assert_int_equal(vattn_row_bytes(VATTN_TYPE_BF16, 1), 2);
    assert_int_equal(vattn_row_bytes(VATTN_TYPE_Q8_0, 128), 136);
    assert_int_equal(vattn_row_bytes(VATTN_TYPE_Q8_0, 80), 0);
    assert_int_equal(vattn_row_bytes(VATTN_TYPE_F16, 0), 0);
    assert_int_equal(vattn_row_bytes((enum vattn_type)VATTN_TYPE_COUNT, 32), 0);
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Ties go to even; infinities and NaN stay. */
static void bf16_rounds_to_even(void ** state) {
    (void)state;
    static const struct {
        uint32_t from;
        uint16_t to;
    } cases[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81},
                 {0x7f800000, 0x7f80}, {0xff7fffff, 0xff80}, {0x7f800001, 0x7fc0}, {0x00008000, 0x0000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float x, back;
        uint16_t row;
        memcpy(&x, &cases[i].from, sizeof x);
        vattn_row_write(VATTN_TYPE_BF16, &x, 1, &row);
        assert_int_equal(row, cases[i].to);
        vattn_row_read(VATTN_TYPE_BF16, &row, 1, &back);
        assert_int_equal(bits_of(back), (uint32_t)cases[i].to << 16);
    }
}

/* A block by hand: -127 .. has scale 1; then one of which every element is within half a step of what is stored. */
static void q8_0_is_what_ggml_stores(void ** state) {
    (void)state;
    float x[64], back[64];
    unsigned char row[68];
    for (int i = 0; i < 32; i++) {
        x[i] = i == 31 ? -127.0F : (float)(i * 4) + (i % 2 == 0 ? 0.5F : -0.25F); /* .5 goes to even */
        x[32 + i] = 1e3F * sinf(0.7F * (float)i);
    }
    vattn_row_write(VATTN_TYPE_Q8_0, x, 64, row);
    assert_int_equal(row[0] | row[1] << 8, 0x3c00); /* 1 in f16 */
    for (int i = 0; i < 31; i++) {
        assert_int_equal((signed char)row[2 + i], 4 * i);
    }
    assert_int_equal((signed char)row[33], -127);
    vattn_row_read(VATTN_TYPE_Q8_0, row, 64, back);
    for (int i = 32; i < 64; i++) {
        assert_true(fabsf(back[i] - x[i]) <= 1000.0F / 127.0F * 0.5F + 1000.0F * 0x1p-11F);
    }
    x[40] = NAN;
    x[5] = INFINITY;
    vattn_row_write(VATTN_TYPE_Q8_0, x, 64, row);
    vattn_row_read(VATTN_TYPE_Q8_0, row, 64, back);
    assert_true(isnan(back[0]) && isnan(back[40]));
    memset(x, 0, sizeof x);
    vattn_row_write(VATTN_TYPE_Q8_0, x, 64, row);
    for (int i = 0; i < 68; i++) {
        assert_int_equal(row[i], 0);
    }
}

/* -------------------------------------------------------------------------------------------------------- attention */

static void exact_agrees_for_all_pairs(void ** state) {
    (void)state;
    for (int pair = 0; pair < 16; pair++) {
        for (int dim = 32; dim <= 128; dim *= 2) {
            struct vattn_options o = options(types[pair / 4], types[pair % 4], 1100);
            struct layer l;
            o.head_dim = dim;
            o.v_dim = pair % 3 == 0 ? 96 : dim;
            layer_make(&l, &o, 11);
            struct vattn_input in = layer_input(&l, 1);
            assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
            assert_true(layer_error(&l) < 1e-5);
            int64_t bytes =
                1100 * (int64_t)(vattn_row_bytes(o.k_type, o.head_dim) + vattn_row_bytes(o.v_type, o.v_dim));
            assert_int_equal(l.cert[0].bytes, bytes);
            l.k32[5]++; /* the twin does see keys */
            l.v32[0] += 100.0F;
            assert_true(layer_error(&l) > 1e-5);
            layer_free(&l);
        }
    }
}

/* Rows that are hidden hold NaN in every type: 0xff is a NaN for a scale, too. */
static void hidden_rows_may_hold_anything(void ** state) {
    (void)state;
    for (int t = 2; t < 4; t++) {
        struct vattn_options o = options(types[t], types[t], 3000);
        struct layer l;
        uint64_t visible[47] = {0};
        o.method = VATTN_METHOD_SPARSE;
        o.eps = 0.1;
        layer_make(&l, &o, 5);
        layer_index(&l);
        for (int64_t r = 0; r < 3000; r++) {
            if (r % 5 != 2) {
                vattn_bit_set(visible, r);
            } else {
                memset((char *)l.k + (size_t)r * l.kv.k_row_stride, 0xff, l.kv.k_row_stride);
                memset((char *)l.v + (size_t)r * l.kv.v_row_stride, 0xff, l.kv.v_row_stride);
            }
        }
        l.kv.visible = visible;
        struct vattn_input in = layer_input(&l, 1);
        assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
        assert_true(layer_error(&l) < 0.1);
        in.index = NULL;
        assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
        assert_true(layer_error(&l) < 1e-5);
        layer_free(&l);
    }
}

/* Misses of 500 draws per head, none above what delta = .05 gives once in a million; and the sample is one. */
static void sparse_keeps_its_promise(void ** state) {
    (void)state;
    enum { DRAWS = 500, MOST = 51 };
    static const enum vattn_type pairs[][2] = {
        {VATTN_TYPE_Q8_0, VATTN_TYPE_Q8_0}, {VATTN_TYPE_BF16, VATTN_TYPE_BF16}, {VATTN_TYPE_Q8_0, VATTN_TYPE_F16}};
    for (int p = 0; p < 3; p++) {
        struct vattn_options o = options(pairs[p][0], pairs[p][1], 4000);
        struct layer l;
        double truth[6][64];
        int misses[6] = {0}, certified = 0;
        o.method = VATTN_METHOD_SPARSE;
        o.eps = 0.1;
        layer_make(&l, &o, 21);
        layer_index(&l);
        for (int h = 0; h < 6; h++) {
            layer_truth(&l, h, truth[h]);
        }
        for (uint64_t nonce = 0; nonce < DRAWS; nonce++) {
            struct vattn_input in = layer_input(&l, nonce);
            assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
            for (int h = 0; h < 6; h++) {
                double off = 0.0, norm = 0.0;
                for (int a = 0; a < 64; a++) {
                    double x = (double)l.out[h * 64 + a] - truth[h][a];
                    off += x * x;
                    norm += truth[h][a] * truth[h][a];
                }
                misses[h] += off > 0.01 * norm;
                certified += l.cert[h].answer == VATTN_ANSWER_CERTIFIED;
            }
        }
        for (int h = 0; h < 6; h++) {
            assert_in_range(misses[h], 0, MOST);
        }
        assert_true(certified > DRAWS * 6 / 2);
        layer_free(&l);
    }
}

static void strict_keeps_its_promise(void ** state) {
    (void)state;
    for (int t = 2; t < 4; t++) {
        struct vattn_options o = options(types[t], types[t], 6000);
        struct layer l;
        o.method = VATTN_METHOD_SPARSE_STRICT;
        o.eps = 0.2;
        layer_make(&l, &o, 31);
        layer_index(&l);
        const char * reason = "";
        assert_true(vattn_index_validate(l.index, &l.kv, &reason));
        int sampled = 0;
        for (uint64_t nonce = 0; nonce < 20; nonce++) {
            struct vattn_input in = layer_input(&l, nonce);
            assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
            assert_true(layer_error(&l) < 0.2);
            sampled += l.cert[0].answer == VATTN_ANSWER_CERTIFIED;
        }
        assert_true(sampled > 0);
        layer_free(&l);
    }
}

/* ------------------------------------------------------------------------------------------------------------ index */

/* Overwritten rows are noticed, encoded again, and a row that is not finite stays uncovered and is read. */
static void the_index_follows_its_rows(void ** state) {
    (void)state;
    for (int t = 2; t < 4; t++) {
        struct vattn_options o = options(types[t], types[t], 2048);
        struct layer l;
        float x[64];
        const char * reason = "";
        o.method = VATTN_METHOD_SPARSE;
        layer_make(&l, &o, 41);
        layer_index(&l);
        assert_true(vattn_index_validate(l.index, &l.kv, &reason));
        for (int a = 0; a < 64; a++) {
            x[a] = (float)(a % 7) - 3.0F;
        }
        char *key = (char *)l.k + 100 * l.kv.k_row_stride, *bad = (char *)l.k + 101 * l.kv.k_row_stride;
        vattn_row_write(o.k_type, x, 64, key);
        assert_false(vattn_index_row_current(l.index, &l.kv, 100));
        assert_int_equal(vattn_index_encode(l.index, &l.kv, 100, 101), VATTN_STATUS_OK);
        assert_true(vattn_index_row_current(l.index, &l.kv, 100));
        x[33] = NAN;
        vattn_row_write(o.k_type, x, 64, bad);
        assert_int_equal(vattn_index_encode(l.index, &l.kv, 101, 102), VATTN_STATUS_OK);
        assert_int_equal(vattn_index_covered(l.index, 100, 102), 1);
        assert_true(vattn_index_validate(l.index, &l.kv, &reason));
        struct vattn_input in = layer_input(&l, 1);
        assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_NOT_FINITE);
        layer_free(&l);
    }
}

/* Means in the type of the values: not more bytes than with f16. */
static void the_index_is_no_larger(void ** state) {
    (void)state;
    size_t bytes[4];
    for (int t = 0; t < 4; t++) {
        struct vattn_options o = options(types[t], types[t], 32768);
        struct vattn_plan * plan;
        o.method = VATTN_METHOD_SPARSE;
        assert_int_equal(vattn_plan_create(&o, &plan, NULL), VATTN_STATUS_OK);
        bytes[t] = vattn_index_bytes(plan, 32768);
        vattn_plan_free(plan);
    }
    assert_int_equal(bytes[2], bytes[1]);
    assert_true(bytes[3] <= bytes[1] * 101 / 100);
    assert_true(bytes[3] * 12 <= 32768 * (size_t)(2 * 2 * 64 * 2));
}

/* -------------------------------------------------------------------------------------------------------- selectors */

/* Three kinds work on parts of keys and refuse; the others find the best rows as with f16. */
static void selectors_work_or_refuse(void ** state) {
    (void)state;
    static const enum vattn_method works[] = {VATTN_METHOD_TOPK_ORACLE, VATTN_METHOD_TOPP_ORACLE, VATTN_METHOD_HASH,
                                              VATTN_METHOD_MAGICPIG, VATTN_METHOD_SOCKET};
    static const enum vattn_method refuses[] = {VATTN_METHOD_QUEST, VATTN_METHOD_DOUBLE_SPARSITY, VATTN_METHOD_PQ};
    struct vattn_options o = options(VATTN_TYPE_Q8_0, VATTN_TYPE_Q8_0, 1500);
    struct layer l;
    struct vattn_selector * s;
    layer_make(&l, &o, 51);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        struct vattn_selector_options so = {.struct_size = sizeof so, .kind = works[i]};
        assert_int_equal(vattn_selector_create(l.plan, &l.kv, &so, l.moment, &s), VATTN_STATUS_OK);
        vattn_selector_free(s);
    }
    for (size_t i = 0; i < sizeof refuses / sizeof *refuses; i++) {
        struct vattn_selector_options so = {.struct_size = sizeof so, .kind = refuses[i]};
        assert_int_equal(vattn_selector_create(l.plan, &l.kv, &so, l.moment, &s), VATTN_STATUS_UNSUPPORTED);
        assert_null(s);
    }
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes),
                                       cmocka_unit_test(bf16_rounds_to_even),
                                       cmocka_unit_test(q8_0_is_what_ggml_stores),
                                       cmocka_unit_test(exact_agrees_for_all_pairs),
                                       cmocka_unit_test(hidden_rows_may_hold_anything),
                                       cmocka_unit_test(sparse_keeps_its_promise),
                                       cmocka_unit_test(strict_keeps_its_promise),
                                       cmocka_unit_test(the_index_follows_its_rows),
                                       cmocka_unit_test(the_index_is_no_larger),
                                       cmocka_unit_test(selectors_work_or_refuse)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
