/* SPDX-License-Identifier: MIT
 *
 * The promise on inputs built to break estimators: per head, never pooled, misses against the exact binomial tail.
 * A library that cheats must turn the same test red.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/random.h"
#include "plan/plan.h"
#include "unit/layer.h"

enum { HEADS = 6, DIM = 32, N = 2500, DRAWS = 600 };

/* Smallest k with P(Binomial(DRAWS, p) > k) <= alpha. */
static int limit(double p, double alpha) {
    int k = 0;
    while (vattn_incomplete_beta(k + 1.0, DRAWS - k, p) > alpha) {
        k++;
    }
    return k;
}

static double uniform(uint32_t i) {
    const uint32_t counter[4] = {i, 0, 0, 0}, key[2] = {12, 34};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return vattn_random_uniform(word[0]);
}

static void set_k(struct layer * l, int r, int g, int a, float x) {
    size_t at = ((size_t)r * 2 + (size_t)g) * DIM + (size_t)a;
    ((uint16_t *)l->k)[at] = vattn_half_from_float(x);
    l->k32[at] = vattn_half_to_float(vattn_half_from_float(x));
}

static void set_v(struct layer * l, int r, int g, int a, float x) {
    size_t at = ((size_t)r * 2 + (size_t)g) * DIM + (size_t)a;
    ((uint16_t *)l->v)[at] = vattn_half_from_float(x);
    l->v32[at] = vattn_half_to_float(vattn_half_from_float(x));
}

enum input { PLAIN, CAUCHY, SHARP, NEEDLES, GIANT_VALUE, EQUAL_KEYS, SMALL_OUTPUT, DUPLICATES, N_INPUTS };
static const char * const input_names[] = {"plain",         "Cauchy logits", "sharp softmax", "needles",
                                           "a giant value", "equal keys",    "small output",  "duplicated keys"};

static void build(struct layer * l, enum input input) {
    for (int r = 0; r < N; r++) {
        for (int g = 0; g < 2; g++) {
            uint32_t u = (uint32_t)(r * 2 + g);
            if (input == CAUCHY) { /* one coordinate carries a heavy-tailed logit */
                float x = (float)tan(3.14159 * (uniform(u) - 0.5));
                set_k(l, r, g, 0, x > 12.0F ? 12.0F : x < -12.0F ? -12.0F : x);
            } else if (input == NEEDLES && r % 500 == 77) {
                for (int a = 0; a < DIM; a++) {
                    set_k(l, r, g, a, 0.5F * l->q[g * 3 * DIM + a]);
                }
            } else if (input == GIANT_VALUE && r == 1234) {
                for (int a = 0; a < DIM; a++) {
                    set_v(l, r, g, a, 30.0F * l->v32[((size_t)r * 2 + (size_t)g) * DIM + (size_t)a]);
                }
            }
            for (int a = 0; a < DIM; a++) {
                if (input == EQUAL_KEYS) {
                    set_k(l, r, g, a, 0.25F);
                } else if (input == DUPLICATES) {
                    set_k(l, r, g, a, l->k32[((size_t)(r % 100) * 2 + (size_t)g) * DIM + (size_t)a]);
                } else if (input == SMALL_OUTPUT) {
                    set_v(l, r, g, a, l->v32[((size_t)r * 2 + (size_t)g) * DIM + (size_t)a] - 0.38F);
                }
            }
        }
    }
    for (int i = 0; i < HEADS * DIM && input == SHARP; i++) {
        l->q[i] *= 2.5F;
    }
}

struct outcome {
    int misses[HEADS], exact;
    double rows;
};

static void run(struct layer * l, struct outcome * out) {
    double truth[HEADS][DIM], norm[HEADS];
    memset(out, 0, sizeof *out);
    for (int h = 0; h < HEADS; h++) {
        layer_truth(l, h, truth[h]);
        norm[h] = 0.0;
        for (int a = 0; a < DIM; a++) {
            norm[h] += truth[h][a] * truth[h][a];
        }
    }
    for (uint64_t r = 0; r < DRAWS; r++) {
        struct vattn_input in = layer_input(l, r);
        assert_int_equal(vattn_attend(l->plan, &in, l->work, l->work_bytes), VATTN_STATUS_OK);
        for (int h = 0; h < HEADS; h++) {
            double e = 0.0;
            for (int a = 0; a < DIM; a++) {
                double x = (double)l->out[h * DIM + a] - truth[h][a];
                e += x * x;
            }
            out->misses[h] += e > l->options.eps * l->options.eps * norm[h];
            out->exact += l->cert[h].answer == VATTN_ANSWER_EXACT;
            out->rows += (double)l->cert[h].rows_kv / N / HEADS / DRAWS;
        }
    }
}

static struct vattn_options options(double eps, enum vattn_scope scope) {
    struct vattn_options o = layer_options(HEADS, 2, DIM, N);
    o.method = VATTN_METHOD_SPARSE;
    o.eps = eps;
    o.scope = scope;
    o.max_rows = 1.0; /* sample as long as possible: exact answers prove nothing here */
    return o;
}

static int worst(const struct outcome * o) {
    int w = 0;
    for (int h = 0; h < HEADS; h++) {
        w = o->misses[h] > w ? o->misses[h] : w;
    }
    return w;
}

static void keeps_the_promise(void ** state) {
    (void)state;
    int most = limit(0.05, 1e-6 / (2 * N_INPUTS * HEADS)), sampled = 0;
    for (int input = 0; input < N_INPUTS; input++) {
        for (int k = 0; k < 2; k++) {
            struct vattn_options o = options(k == 0 ? 0.1 : 0.2, VATTN_SCOPE_HEAD);
            struct layer l;
            struct outcome out;
            layer_make(&l, &o, 100);
            build(&l, (enum input)input);
            layer_index(&l);
            run(&l, &out);
            print_message("%-16s eps %.2f: worst head misses %3d of %d (limit %d), rows %.3f, exact %.3f\n",
                          input_names[input], o.eps, worst(&out), DRAWS, most, out.rows,
                          (double)out.exact / DRAWS / HEADS);
            assert_true(worst(&out) <= most);
            sampled += out.exact < DRAWS * HEADS;
            layer_free(&l);
        }
    }
    assert_true(sampled >= N_INPUTS); /* always exact would pass trivially */
}

/* Scope layer: the whole output of a call. */
static void keeps_the_promise_of_a_layer(void ** state) {
    (void)state;
    struct vattn_options o = options(0.1, VATTN_SCOPE_LAYER);
    struct layer l;
    int misses = 0, exact = 0;
    layer_make(&l, &o, 101);
    layer_index(&l);
    for (uint64_t r = 0; r < DRAWS; r++) {
        struct vattn_input in = layer_input(&l, r);
        double error = 0.0, norm = 0.0, truth[DIM];
        assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
        for (int h = 0; h < HEADS; h++) {
            layer_truth(&l, h, truth);
            for (int a = 0; a < DIM; a++) {
                double x = (double)l.out[h * DIM + a] - truth[a];
                error += x * x;
                norm += truth[a] * truth[a];
            }
            exact += l.cert[h].answer == VATTN_ANSWER_EXACT;
        }
        misses += error > 0.01 * norm;
    }
    print_message("scope layer: %d of %d missed, exact %.3f\n", misses, DRAWS, (double)exact / DRAWS / HEADS);
    assert_true(misses <= limit(0.05, 1e-6));
    assert_true(exact < DRAWS * HEADS);
    layer_free(&l);
}

/* Planted cheats: each must break the limit that the honest library keeps. */
static void cheats_are_caught(void ** state) {
    (void)state;
    static const char * const names[] = {"variance a ninth of what it is", "error allowed four times too large"};
    int most = limit(0.05, 1e-6 / (2 * N_INPUTS * HEADS));
    for (int cheat = 0; cheat < 2; cheat++) {
        struct vattn_options o = options(0.1, VATTN_SCOPE_HEAD);
        struct layer l;
        struct outcome out;
        layer_make(&l, &o, 100);
        layer_index(&l);
        for (int i = 0; i < VATTN_QUANTILE_NU && cheat == 0; i++) {
            for (int j = 0; j < VATTN_QUANTILE_N2; j++) {
                l.plan->quantile.log_c[i][j] -= log(9.0);
            }
        }
        l.plan->opt.eps *= cheat == 1 ? 4.0 : 1.0;
        run(&l, &out);
        print_message("cheat (%s): worst head misses %d of %d\n", names[cheat], worst(&out), DRAWS);
        assert_true(worst(&out) > most);
        layer_free(&l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_the_promise),
                                       cmocka_unit_test(keeps_the_promise_of_a_layer),
                                       cmocka_unit_test(cheats_are_caught)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
