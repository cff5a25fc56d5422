/* SPDX-License-Identifier: MIT
 *
 * The index against a plain model: random programs of append, overwrite, forget, validated after each step; proxies
 * against exact scores; what damage validate must name.
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/random.h"
#include "index/eigen.h"
#include "index/index.h"
#include "unit/layer.h"

static uint32_t draw(uint32_t * at) {
    const uint32_t counter[4] = {(*at)++, 1, 2, 3}, key[2] = {4, 5};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return word[0];
}

static void overwrite(struct layer * l, int64_t row, uint32_t * at) {
    size_t d = (size_t)l->options.n_kv_heads * (size_t)l->options.head_dim;
    for (size_t i = 0; i < d; i++) {
        ((uint16_t *)l->k)[(size_t)row * d + i] = vattn_half_from_float((float)(draw(at) % 2000) / 300.0F - 3.0F);
    }
}

static void program(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(4, 2, 64, 640);
    struct layer l;
    bool covered[640] = {false};
    uint32_t at = 0;
    const char * reason = "";
    layer_make(&l, &o, 21);
    assert_int_equal(vattn_index_create(l.plan, 640, &l.index), VATTN_STATUS_OK);
    assert_int_equal(vattn_index_encode(l.index, &l.kv, 0, 640), VATTN_STATUS_NOT_CALIBRATED);
    assert_int_equal(vattn_index_calibrate(l.index, &l.kv, l.moment), VATTN_STATUS_OK);
    for (int step = 0; step < 300; step++) {
        int64_t begin = draw(&at) % 640, end = begin + 1 + draw(&at) % 70;
        end = end < 640 ? end : 640;
        if (draw(&at) % 3 == 0) {
            vattn_index_forget(l.index, begin, end);
            memset(covered + begin, 0, (size_t)(end - begin));
        } else {
            for (int64_t r = begin; r < end; r++) {
                overwrite(&l, r, &at);
            }
            assert_int_equal(vattn_index_encode(l.index, &l.kv, begin, end), VATTN_STATUS_OK);
            memset(covered + begin, 1, (size_t)(end - begin));
        }
        if (!vattn_index_validate(l.index, &l.kv, &reason)) {
            fail_msg("step %d: %s", step, reason);
        }
        int64_t n = 0;
        for (int r = 0; r < 640; r++) {
            n += covered[r];
            assert_int_equal(covered[r], vattn_index_covered(l.index, r, r + 1));
        }
        assert_int_equal(n, vattn_index_covered(l.index, 0, 640));
    }
    layer_free(&l);
}

static void validate_names_damage(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(4, 2, 64, 640);
    struct layer l;
    const char * reason = NULL;
    uint32_t at = 99;
    layer_make(&l, &o, 22);
    layer_index(&l);
    assert_true(vattn_index_validate(l.index, &l.kv, &reason));
    overwrite(&l, 123, &at); /* a write that nobody told the index about */
    assert_false(vattn_index_row_current(l.index, &l.kv, 123));
    assert_true(vattn_index_row_current(l.index, &l.kv, 124));
    assert_false(vattn_index_validate(l.index, &l.kv, &reason));
    assert_non_null(strstr(reason, "live cache"));
    assert_int_equal(vattn_index_encode(l.index, &l.kv, 123, 124), VATTN_STATUS_OK);
    assert_true(vattn_index_validate(l.index, &l.kv, &reason));
    l.index->books[1].step[2] = -1.0F;
    assert_false(vattn_index_validate(l.index, NULL, &reason));
    assert_non_null(strstr(reason, "step"));
    layer_free(&l);
}

static void bad_rows_stay_uncovered(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(4, 2, 64, 640);
    struct layer l;
    layer_make(&l, &o, 23);
    layer_index(&l);
    ((uint16_t *)l.k)[300 * 128 + 5] = 0x7c00; /* infinity */
    assert_int_equal(vattn_index_encode(l.index, &l.kv, 256, 320), VATTN_STATUS_OK);
    assert_int_equal(vattn_index_covered(l.index, 256, 320), 63);
    assert_int_equal(vattn_index_covered(l.index, 300, 301), 0);
    assert_int_equal(vattn_index_encode(l.index, &l.kv, 0, 641), VATTN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(vattn_index_calibrate(l.index, &l.kv, l.moment), VATTN_STATUS_NOT_FINITE);
    layer_free(&l);
}

enum { ROUNDS = 40, KV_HEADS = 4 };

struct crew {
    struct layer * l;
    _Atomic int32_t next;
};

static void * calibrate_some(void * data) {
    struct crew * crew = data;
    for (int32_t g = atomic_fetch_add(&crew->next, 1); g < KV_HEADS; g = atomic_fetch_add(&crew->next, 1)) {
        (void)vattn_index_calibrate_head(crew->l->index, &crew->l->kv, crew->l->moment, g);
    }
    return NULL;
}

/* Threads give the same index every time: OpenBLAS alone, called by two threads at once, does not. */
static void calibration_by_threads(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(2 * KV_HEADS, KV_HEADS, 64, 1024);
    struct layer l;
    layer_make(&l, &o, 26);
    layer_index(&l);
    const size_t bytes = KV_HEADS * (size_t)l.index->capacity * l.index->token_bytes;
    uint8_t * alone = malloc(bytes);
    memcpy(alone, l.index->codes, bytes);
    for (int32_t round = 0; round < ROUNDS; round++) {
        struct crew crew = {.l = &l, .next = 0};
        pthread_t other;
        assert_int_equal(vattn_index_calibrate_begin(l.index, &l.kv), VATTN_STATUS_OK);
        assert_int_equal(pthread_create(&other, NULL, calibrate_some, &crew), 0);
        calibrate_some(&crew);
        assert_int_equal(pthread_join(other, NULL), 0);
        assert_int_equal(vattn_index_calibrate_end(l.index), VATTN_STATUS_OK);
        assert_int_equal(vattn_index_encode(l.index, &l.kv, 0, l.kv.n_keys), VATTN_STATUS_OK);
        assert_memory_equal(alone, l.index->codes, bytes);
    }
    free(alone);
    layer_free(&l);
}

/* The check of eigenvectors takes those of LAPACK, and none that are damaged. */
static void eigenvectors_are_checked(void ** state) {
    (void)state;
    enum { D = 48 };
    static double matrix[D * D], v[D * D], values[D];
    for (int32_t i = 0; i < D; i++) {
        for (int32_t j = 0; j < D; j++) {
            matrix[i * D + j] = 1.0 / (1.0 + i + j) + (i == j ? 0.01 * (i % 5) : 0.0);
        }
    }
    memcpy(v, matrix, sizeof v);
    assert_true(vattn_eigen(v, values, D));
    assert_true(vattn_eigen_check(matrix, v, values, D));
    v[5 * D + 7] += 1e-6;
    assert_false(vattn_eigen_check(matrix, v, values, D));
    v[5 * D + 7] -= 1e-6;
    values[7] += 1e-6;
    assert_false(vattn_eigen_check(matrix, v, values, D));
    values[7] -= 1e-6;
    for (int32_t i = 0; i < D; i++) { /* the same vector twice */
        v[i * D + D - 2] = v[i * D + D - 1];
    }
    values[D - 2] = values[D - 1];
    assert_false(vattn_eigen_check(matrix, v, values, D));
    matrix[3] = NAN;
    memcpy(v, matrix, sizeof v);
    assert_false(vattn_eigen(v, values, D));
}

/* KV heads calibrated one by one, in any order, give the index that calibrating all at once does. */
static void calibration_in_parts(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(6, 3, 64, 2048);
    struct layer l;
    layer_make(&l, &o, 25);
    layer_index(&l);
    const size_t bytes = 3 * (size_t)l.index->capacity * l.index->token_bytes;
    uint8_t * whole = malloc(bytes);
    memcpy(whole, l.index->codes, bytes);
    assert_int_equal(vattn_index_calibrate_begin(l.index, &l.kv), VATTN_STATUS_OK);
    assert_false(vattn_index_calibrated(l.index));
    assert_int_equal(vattn_index_covered(l.index, 0, 2048), 0);
    assert_int_equal(vattn_index_calibrate_head(l.index, &l.kv, l.moment, 2), VATTN_STATUS_OK);
    assert_int_equal(vattn_index_calibrate_head(l.index, &l.kv, l.moment, 0), VATTN_STATUS_OK);
    assert_int_equal(vattn_index_calibrate_head(l.index, &l.kv, l.moment, 3), VATTN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(vattn_index_calibrate_end(l.index), VATTN_STATUS_NOT_CALIBRATED); /* one is missing */
    assert_int_equal(vattn_index_calibrate_head(l.index, &l.kv, l.moment, 1), VATTN_STATUS_OK);
    assert_int_equal(vattn_index_calibrate_end(l.index), VATTN_STATUS_OK);
    assert_int_equal(vattn_index_encode(l.index, &l.kv, 0, 2048), VATTN_STATUS_OK);
    assert_memory_equal(whole, l.index->codes, bytes);
    free(whole);
    layer_free(&l);
}

/* Proxy scores off the escape list err by what the code book says. */
static void proxies(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(2, 1, 64, 2048);
    struct layer l;
    layer_make(&l, &o, 24);
    layer_index(&l);
    float out[2048], q[64];
    int8_t weight[64];
    struct vattn_query_code code;
    for (int i = 0; i < 64; i++) {
        q[i] = l.q[i] * l.plan->q_scale;
    }
    float sigma2;
    vattn_index_query(l.plan->kern, &l.index->books[0], 64, q, 1, weight, &code, &sigma2);
    double predicted = (double)sigma2, sum = 0.0, mean = 0.0;
    l.plan->kern->scan(vattn_index_block(l.index, 0, 0), 2048 / 16, l.index->books[0].layout, &code, 1, out, 2048);
    int n = 0;
    for (int r = 0; r < 2048; r++) {
        if (!vattn_bit(vattn_index_escape(l.index, 0), r)) {
            double s = 0.0;
            for (int i = 0; i < 64; i++) {
                s += (double)q[i] * (double)l.k32[r * 64 + i];
            }
            sum += (s - (double)out[r]) * (s - (double)out[r]);
            mean += s - (double)out[r];
            n++;
        }
    }
    sum = sum / n - mean / n * mean / n;
    print_message("proxy error %.3f, predicted %.3f (log2 units), %d of 2048 escaped\n", sqrt(sum), sqrt(predicted), 2048 - n);
    assert_true(sum < 1.3 * predicted && sum > 0.5 * predicted);
    assert_in_range(2048 - n, 10, 80);
    layer_free(&l);
}

static void bytes_within_budget(void ** state) {
    (void)state;
    static const struct {
        int32_t d;
        int64_t rows;
    } shapes[] = {{64, 7040}, {64, 8192}, {64, 29760}, {64, 32768}, {64, 131072}, {128, 8256}, {128, 29760}, {128, 131072}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct vattn_options o = layer_options(14, 2, shapes[i].d, shapes[i].rows);
        struct vattn_plan * plan;
        assert_int_equal(vattn_plan_create(&o, &plan, NULL), VATTN_STATUS_OK);
        double share = (double)vattn_index_bytes(plan, shapes[i].rows) / ((double)shapes[i].rows * 8.0 * shapes[i].d);
        print_message("index: %.4f of the f16 KV bytes of %ld rows of %d\n", share, (long)shapes[i].rows, shapes[i].d);
        assert_true(share <= 1.0 / 12.0);
        vattn_plan_free(plan);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(program), cmocka_unit_test(validate_names_damage),
                                       cmocka_unit_test(bad_rows_stay_uncovered), cmocka_unit_test(proxies),
                                       cmocka_unit_test(bytes_within_budget), cmocka_unit_test(calibration_in_parts),
                                       cmocka_unit_test(calibration_by_threads), cmocka_unit_test(eigenvectors_are_checked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
