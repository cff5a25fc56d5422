/* SPDX-License-Identifier: MIT
 *
 * HashAttention: signatures of learned and of random weights against a twin, and how often random ones agree.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "select/hyperplanes.h"
#include "unit/select_case.h"

enum { MOST = 700, MOST_WIDTH = 1100 };

/* Weights for every layer and head, normal numbers. */
struct network {
    struct vattn_hash_weights w;
    float * memory[12];
};

static void make_network(struct network * net, const struct layer * l, int32_t n_layers, int32_t hidden, int32_t bits,
                         bool biases, uint64_t seed) {
    memset(net, 0, sizeof *net);
    net->w.n_layers = n_layers;
    net->w.width[0] = l->options.head_dim;
    for (int32_t i = 0; i < 4 * n_layers; i++) {
        int32_t layer = i / 4, heads = i % 2 == 0 ? l->options.n_kv_heads : l->options.n_heads;
        int32_t in = net->w.width[layer], out = layer + 1 == n_layers ? bits : hidden,
                n = i % 4 < 2 ? heads * in * out : heads * out;
        net->w.width[layer + 1] = out;
        float * x = net->memory[i] = malloc((size_t)n * sizeof *x);
        vattn_hyperplanes(seed * 100 + (uint64_t)i, 1, n, x);
        for (int32_t j = 0; j < n; j++) {
            x[j] *= i % 4 < 2 ? 1.0F / sqrtf((float)in) : 0.3F;
        }
        const float ** to = i % 4 == 0   ? &net->w.k_weight[layer]
                            : i % 4 == 1 ? &net->w.q_weight[layer]
                            : i % 4 == 2 ? &net->w.k_bias[layer]
                                         : &net->w.q_bias[layer];
        *to = i % 4 < 2 || biases ? x : NULL;
    }
}

static void free_network(struct network * net) {
    for (int i = 0; i < 12; i++) {
        free(net->memory[i]);
    }
}

/* What the last layer gives for x, in double precision. */
static void twin_network(const struct vattn_hash_weights * w, bool key, int32_t head, const double * x, double * out) {
    double in[MOST_WIDTH];
    memcpy(in, x, (size_t)w->width[0] * sizeof *in);
    for (int32_t i = 0; i < w->n_layers; i++) {
        const float * weight = (key ? w->k_weight : w->q_weight)[i];
        const float * bias = (key ? w->k_bias : w->q_bias)[i];
        for (int32_t o = 0; o < w->width[i + 1]; o++) {
            double sum = bias == NULL ? 0.0 : (double)bias[head * w->width[i + 1] + o];
            for (int32_t a = 0; a < w->width[i]; a++) {
                sum += (double)weight[(head * w->width[i + 1] + o) * w->width[i] + a] * in[a];
            }
            out[o] = i + 1 == w->n_layers ? sum : sum / (1.0 + exp(-sum));
        }
        memcpy(in, out, (size_t)w->width[i + 1] * sizeof *in);
    }
}

/* Bits that agree; *unsure counts those whose sign rounding may decide. */
static int agreement(const double * x, const double * y, int32_t bits, int * unsure) {
    int same = 0;
    *unsure = 0;
    for (int32_t b = 0; b < bits; b++) {
        same += (x[b] > 0.0) == (y[b] > 0.0);
        *unsure += fabs(x[b]) < 1e-4 || fabs(y[b]) < 1e-4;
    }
    return same;
}

static void key_of(const struct layer * l, int32_t g, int64_t row, double * x) {
    for (int32_t a = 0; a < l->options.head_dim; a++) {
        x[a] = select_key(l, g, row, a);
    }
}

static void query_of(const struct layer * l, int32_t head, double * x) {
    for (int32_t a = 0; a < l->options.head_dim; a++) {
        x[a] = (double)l->q[head * l->options.head_dim + a];
    }
}

static int64_t compare(const struct layer * l, const struct vattn_selector * s, const struct vattn_hash_weights * w,
                       bool shared) {
    float score[MOST];
    int64_t all_unsure = 0;
    const int32_t bits = w->width[w->n_layers];
    for (int32_t h = 0; h < l->options.n_heads; h++) {
        double x[MOST_WIDTH], key[MOST_WIDTH], query[MOST_WIDTH];
        query_of(l, h, x);
        twin_network(w, false, shared ? 0 : h, x, query);
        select_score(s, l, h, l->kv.n_keys, score);
        for (int64_t r = 0; r < l->kv.n_keys; r++) {
            int unsure, g = select_kv_head(l, h);
            key_of(l, g, r, x);
            twin_network(w, true, shared ? 0 : g, x, key);
            int same = agreement(query, key, bits, &unsure);
            assert_true(abs((int)score[r] - same) <= unsure);
            all_unsure += unsure;
        }
    }
    return all_unsure;
}

static void learned_signatures_agree_with_twin(void ** state) {
    (void)state;
    int64_t unsure = 0, bits = 0;
    for (int i = 0; i < n_select_shapes; i++) {
        for (int v = 0; v < 4; v++) {
            static const int32_t layers[] = {1, 2, 3, 2}, hidden[] = {1, 40, 9, MOST_WIDTH}, widths[] = {32, 64, 5, 9};
            struct layer l;
            struct network net;
            struct vattn_selector_options o = select_options(VATTN_METHOD_HASH);
            if (v == 3 && i != 0) {
                continue; /* slow; one is enough for a layer wider than a kernel's rows */
            }
            select_layer(&l, &select_shapes[i], o.kind, 400 + (uint64_t)i);
            make_network(&net, &l, layers[v], hidden[v], widths[v], v != 1, 7 + (uint64_t)v);
            o.hash_weights = &net.w;
            struct vattn_selector * s = select_make(&l, &o, NULL);
            int64_t own = 0, signatures = l.kv.n_keys * ((widths[v] + 7) / 8);
            for (int32_t j = 0; j < layers[v]; j++) {
                own += 4 * (net.w.width[j] + (v != 1)) * (int64_t)net.w.width[j + 1];
            }
            assert_int_equal(vattn_selector_bytes(s), l.options.n_heads * own + l.options.n_kv_heads * signatures);
            for (int32_t h = 0; h < l.options.n_heads; h++) {
                float score[MOST];
                assert_int_equal(select_score(s, &l, h, l.kv.n_keys, score),
                                 own + vattn_selector_shared(s, h, signatures));
            }
            unsure += compare(&l, s, &net.w, false);
            bits += l.options.n_heads * l.kv.n_keys * widths[v];
            vattn_selector_free(s);
            free_network(&net);
            layer_free(&l);
        }
    }
    print_message("%lld of %lld bits depend on rounding\n", (long long)unsure, (long long)bits);
    assert_true(unsure < bits / 500);
}

static void random_signatures_agree_with_twin(void ** state) {
    (void)state;
    for (int i = 0; i < n_select_shapes; i++) {
        static const int32_t widths[] = {0, 1, 17, 64};
        for (int v = 0; v < 4; v++) {
            struct layer l;
            struct vattn_selector_options o = select_options(VATTN_METHOD_HASH);
            float plane[64 * 128], score[MOST];
            o.hash_bits = widths[v];
            select_layer(&l, &select_shapes[i], o.kind, 410 + (uint64_t)i);
            struct vattn_selector * s = select_make(&l, &o, NULL);
            const int32_t bits = s->opt.hash_bits;
            assert_int_equal(bits, v == 0 ? 32 : widths[v]);
            vattn_hyperplanes(o.seed, bits, l.options.head_dim, plane);
            const struct vattn_hash_weights w = {
                .n_layers = 1, .width = {l.options.head_dim, bits}, .k_weight = {plane}, .q_weight = {plane}};
            compare(&l, s, &w, true);
            const int64_t planes = 4 * bits * l.options.head_dim, signatures = l.kv.n_keys * ((bits + 7) / 8);
            assert_int_equal(vattn_selector_bytes(s), planes + l.options.n_kv_heads * signatures);
            for (int32_t h = 0; h < l.options.n_heads; h++) {
                assert_int_equal(select_score(s, &l, h, l.kv.n_keys, score),
                                 vattn_selector_shared(s, h, planes + signatures));
            }
            vattn_selector_free(s);
            layer_free(&l);
        }
    }
}

/* Over seeds, a random bit agrees with the probability 1 - angle / pi. */
static void bits_agree_as_often_as_angles_say(void ** state) {
    (void)state;
    enum { N = 120, SEEDS = 400, BITS = 32 };
    const struct select_shape shape = {2, 1, 32, N, VATTN_TYPE_F16, 0.5};
    struct vattn_selector_options o = select_options(VATTN_METHOD_HASH);
    struct layer l;
    float score[N];
    double mean[2][N] = {{0.0}}, worst = 0.0, low = 1.0, high = 0.0;
    select_layer(&l, &shape, o.kind, 42);
    for (o.seed = 0; o.seed < SEEDS; o.seed++) {
        struct vattn_selector * s = select_make(&l, &o, NULL);
        for (int32_t h = 0; h < 2; h++) {
            select_score(s, &l, h, N, score);
            for (int r = 0; r < N; r++) {
                mean[h][r] += (double)score[r] / (SEEDS * BITS);
            }
        }
        vattn_selector_free(s);
    }
    for (int32_t h = 0; h < 2; h++) {
        for (int r = 0; r < N; r++) {
            double p = 1.0 - select_angle(&l, h, r) / acos(-1.0);
            worst = fmax(worst, fabs(mean[h][r] - p) / sqrt(p * (1.0 - p) / (SEEDS * BITS)));
            low = fmin(low, p);
            high = fmax(high, p);
        }
    }
    print_message("probabilities %.3f to %.3f; the worst of %d deviates by %.2f sd\n", low, high, 2 * N, worst);
    assert_true(high - low > 0.2 && worst < 4.5);
    layer_free(&l);
}

/* Mean over seeds: one draw of few planes may be lucky. */
static void more_bits_find_more(void ** state) {
    (void)state;
    const struct select_shape shape = {4, 2, 32, 600, VATTN_TYPE_F16, 0.0};
    double last = 0.0;
    for (int32_t bits = 4; bits <= 64; bits *= 4) {
        struct vattn_selector_options o = select_options(VATTN_METHOD_HASH);
        struct layer l;
        double recall = 0.0;
        o.hash_bits = bits;
        select_layer(&l, &shape, o.kind, 43);
        for (o.seed = 0; o.seed < 10; o.seed++) {
            struct vattn_selector * s = select_make(&l, &o, NULL);
            recall += select_recall(s, &l, 60) / 10.0;
            vattn_selector_free(s);
        }
        print_message("%2d random bits: %.3f of the best tenth\n", bits, recall);
        assert_true(recall > last + 0.03);
        last = recall;
        layer_free(&l);
    }
}

/* The weights belong to the caller again after creation; bad ones are refused. */
static void weights_are_copied_and_checked(void ** state) {
    (void)state;
    struct vattn_selector_options o = select_options(VATTN_METHOD_HASH);
    struct layer l;
    struct network net;
    float before[300], after[300];
    select_layer(&l, &select_shapes[0], o.kind, 44);
    make_network(&net, &l, 3, 12, 32, true, 9);
    o.hash_weights = &net.w;
    struct vattn_selector * s = select_make(&l, &o, NULL);
    select_score(s, &l, 1, 300, before);
    for (int i = 0; i < 12; i++) {
        float keep = net.memory[i][0];
        net.memory[i][0] = NAN;
        assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_NOT_FINITE);
        net.memory[i][0] = keep;
    }
    net.w.width[3] = 65;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    net.w.width[3] = 32;
    net.w.width[0] = 23;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    net.w.width[0] = 24;
    net.w.q_weight[1] = NULL;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    free_network(&net);
    select_score(s, &l, 1, 300, after);
    assert_memory_equal(before, after, sizeof before);
    vattn_selector_free(s);
    layer_free(&l);
}

static void common_checks_and_refusals(void ** state) {
    (void)state;
    struct vattn_selector_options o = select_options(VATTN_METHOD_HASH);
    struct layer l;
    select_check_kind(&o);
    select_layer(&l, &select_shapes[0], o.kind, 45);
    o.hash_bits = 65;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    o.hash_bits = -3;
    assert_int_equal(select_status(&l, &o, NULL), VATTN_STATUS_INVALID_ARGUMENT);
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learned_signatures_agree_with_twin), cmocka_unit_test(random_signatures_agree_with_twin),
        cmocka_unit_test(bits_agree_as_often_as_angles_say),  cmocka_unit_test(more_bits_find_more),
        cmocka_unit_test(weights_are_copied_and_checked),     cmocka_unit_test(common_checks_and_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
