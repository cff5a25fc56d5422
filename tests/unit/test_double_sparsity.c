/* SPDX-License-Identifier: MIT
 *
 * Double Sparsity: channels and labels against a twin, and what they converge to.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/select_case.h"

enum { MOST = 700, MOST_DIM = 128 };

/* The `count` channels with the largest E[q^2] E[k^2]; the first one of equals. */
static void twin_channels(const struct layer * l, int32_t g, const float * moment, int32_t count, int32_t * channel) {
    const int32_t dim = l->options.head_dim;
    double weight[MOST_DIM] = {0.0};
    for (int32_t a = 0; a < dim; a++) {
        for (int64_t r = 0; r < l->kv.n_keys; r++) {
            weight[a] += pow(select_key(l, g, r, a), 2);
        }
        weight[a] *= moment == NULL ? 1.0 : (double)moment[(g * dim + a) * dim + a];
    }
    for (int32_t c = 0; c < count; c++) {
        channel[c] = -1;
        for (int32_t a = 0; a < dim; a++) {
            bool taken = false;
            for (int32_t before = 0; before < c; before++) {
                taken = taken || channel[before] == a;
            }
            if (!taken && (channel[c] < 0 || weight[a] > weight[channel[c]])) {
                channel[c] = a;
            }
        }
    }
}

/* sum_c q_c label_c; *step is what one level of every label is worth. */
static double twin_score(const struct layer * l, int32_t head, int64_t row, const int32_t * channel, int32_t count,
                         int32_t bits, double * step) {
    int32_t g = select_kv_head(l, head);
    double low = INFINITY, high = -INFINITY, sum = 0.0;
    for (int32_t c = 0; c < count; c++) {
        low = fmin(low, select_key(l, g, row, channel[c]));
        high = fmax(high, select_key(l, g, row, channel[c]));
    }
    double width = (high - low) / (pow(2.0, bits) - 1.0);
    *step = 0.0;
    for (int32_t c = 0; c < count; c++) {
        double q = (double)l->q[head * l->options.head_dim + channel[c]], k = select_key(l, g, row, channel[c]);
        double level = width > 0.0 ? round((k - low) / width) : 0.0;
        sum += q * (low + level * width);
        *step += fabs(q) * fmax(width, 1e-5 * fmax(fabs(low), fabs(high)));
    }
    return sum;
}

static void agrees_with_twin(void ** state) {
    (void)state;
    static const int32_t bits[] = {4, 1, 7, 16}, factors[] = {0, 1, 3};
    int64_t rows = 0, off = 0;
    for (int i = 0; i < n_select_shapes; i++) {
        for (int j = 0; j < 12; j++) {
            struct layer l;
            struct vattn_selector_options o = select_options(VATTN_METHOD_DOUBLE_SPARSITY);
            float score[MOST];
            o.label_bits = bits[j / 3];
            o.group_factor = factors[j % 3] < select_shapes[i].dim ? factors[j % 3] : 1;
            select_layer(&l, &select_shapes[i], o.kind, 200 + (uint64_t)i);
            const float * moment = j % 2 == 0 ? l.moment : NULL;
            struct vattn_selector * s = select_make(&l, &o, moment);
            const int64_t n = l.kv.n_keys, type = (int64_t)vattn_row_size(l.options.k_type, 1);
            const int32_t count = l.options.head_dim / s->opt.group_factor;
            const int64_t bytes = 2 * count + n * ((count * o.label_bits + 7) / 8 + 2 * type);
            assert_int_equal(vattn_selector_bytes(s), bytes * l.options.n_kv_heads);
            for (int32_t h = 0; h < l.options.n_heads; h++) {
                int32_t channel[MOST_DIM];
                twin_channels(&l, select_kv_head(&l, h), moment, count, channel);
                assert_int_equal(select_score(s, &l, h, n, score), vattn_selector_shared(s, h, bytes));
                for (int64_t r = 0; r < n; r++) {
                    double step, twin = twin_score(&l, h, r, channel, count, o.label_bits, &step);
                    assert_true(fabs((double)score[r] - twin) <= 1.01 * step);
                    off += fabs((double)score[r] - twin) > 1e-3 * step + 1e-4 * fabs(twin) + 1e-5;
                    rows++;
                }
            }
            vattn_selector_free(s);
            layer_free(&l);
        }
    }
    print_message("%lld of %lld rows have a label rounded the other way\n", (long long)off, (long long)rows);
    assert_true(off <= rows / 1000); /* halves, up to rounding */
}

/* Which channels a KV head uses, asked with unit queries. */
static uint64_t channels_of(struct layer * l, const struct vattn_selector * s, int32_t head) {
    const int32_t dim = l->options.head_dim;
    uint64_t set = 0;
    float score[MOST];
    for (int32_t a = 0; a < dim; a++) {
        memset(l->q + head * dim, 0, (size_t)dim * sizeof(float));
        l->q[head * dim + a] = 1.0F;
        select_score(s, l, head, l->kv.n_keys, score);
        for (int64_t r = 0; r < l->kv.n_keys; r++) {
            set |= (uint64_t)(score[r] != 0.0F) << a;
        }
    }
    return set;
}

/* Keys alone choose the outlier channel 3; queries that never use it do not. */
static void queries_decide_which_channels_count(void ** state) {
    (void)state;
    const struct select_shape shape = {2, 1, 32, 400, VATTN_TYPE_F16, 0.0};
    struct vattn_selector_options o = select_options(VATTN_METHOD_DOUBLE_SPARSITY);
    struct layer l;
    select_layer(&l, &shape, o.kind, 21);
    struct vattn_selector * s = select_make(&l, &o, NULL);
    assert_true(channels_of(&l, s, 0) == 0x9); /* 2 of 32: the outlier and the widest one */
    vattn_selector_free(s);
    l.moment[3 * 32 + 3] = 0.0F;
    l.moment[31 * 32 + 31] = 1e6F;
    s = select_make(&l, &o, l.moment);
    assert_true(channels_of(&l, s, 1) == (0x80000000U | 0x1));
    vattn_selector_free(s);
    l.moment[5 * 32 + 5] = NAN;
    assert_int_equal(select_status(&l, &o, l.moment), VATTN_STATUS_NOT_FINITE);
    layer_free(&l);
}

/* All channels and many levels are the exact scores; every bit and every channel helps. */
static void converges_to_the_exact_scores(void ** state) {
    (void)state;
    const struct select_shape shape = {4, 2, 32, 600, VATTN_TYPE_F16, 0.3};
    double last = 0.0;
    for (int i = 0; i < 4; i++) {
        static const int32_t factors[] = {16, 4, 1, 1}, bits[] = {2, 4, 6, 16};
        struct vattn_selector_options o = select_options(VATTN_METHOD_DOUBLE_SPARSITY);
        struct layer l;
        o.group_factor = factors[i];
        o.label_bits = bits[i];
        select_layer(&l, &shape, o.kind, 22);
        struct vattn_selector * s = select_make(&l, &o, l.moment);
        double recall = select_recall(s, &l, 60);
        print_message("%2d channels of %2d bits: %.3f of the best tenth\n", 32 / factors[i], bits[i], recall);
        assert_true(recall > last);
        last = recall;
        if (i == 3) {
            float score[MOST];
            select_score(s, &l, 1, 600, score);
            for (int r = 0; r < 600; r++) {
                assert_true(fabs((double)score[r] - select_dot(&l, 1, r)) < 0.02);
            }
        }
        vattn_selector_free(s);
        layer_free(&l);
    }
    assert_true(last > 0.99);
}

static void common_checks_and_refusals(void ** state) {
    (void)state;
    struct vattn_selector_options o = select_options(VATTN_METHOD_DOUBLE_SPARSITY);
    struct layer l;
    select_check_kind(&o);
    select_layer(&l, &select_shapes[0], o.kind, 23);
    o.group_factor = 25; /* more than there are channels */
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.group_factor = 24;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_OK);
    o.label_bits = 17;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.label_bits = -1;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_twin), cmocka_unit_test(queries_decide_which_channels_count),
        cmocka_unit_test(converges_to_the_exact_scores), cmocka_unit_test(common_checks_and_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
