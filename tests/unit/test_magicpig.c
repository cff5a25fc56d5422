/* SPDX-License-Identifier: MIT
 *
 * MagicPIG: collisions of its tables and the probabilities they stand for, against definitions in double precision and as published.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vattn_experimental.h>

#include "select/hyperplanes.h"
#include "select/magicpig.h"
#include "unit/paper_check.h"

static struct vattn_selector * tables(const struct layer * l, int32_t k, int32_t tables_, int32_t least, uint64_t seed) {
    struct vattn_selector_options o = {.struct_size = sizeof o, .kind = VATTN_METHOD_MAGICPIG, .lsh_k = k, .lsh_l = tables_,
                                       .lsh_collisions = least, .seed = seed};
    struct vattn_selector * s;
    assert_int_equal(vattn_selector_create(l->plan, &l->kv, &o, NULL, &s), VATTN_STATUS_OK);
    return s;
}

/* Cosines between queries and centred keys, in double precision; mean over the rows that are neither sink nor window. */
static double angle_of(const struct layer * l, int32_t h, int64_t row) {
    double mean[32] = {0}, dot = 0.0, qq = 0.0, kk = 0.0;
    int64_t begin = 4, end = l->kv.n_keys - 32;
    for (int a = 0; a < 32; a++) {
        for (int64_t r = begin; r < end; r++) {
            mean[a] += (double)l->k32[((size_t)r * 2 + (size_t)(h / 2)) * 32 + (size_t)a] / (double)(end - begin);
        }
        double q = (double)l->q[h * 32 + a], k = (double)l->k32[((size_t)row * 2 + (size_t)(h / 2)) * 32 + (size_t)a] - mean[a];
        dot += q * k;
        qq += q * q;
        kk += k * k;
    }
    return acos(dot / sqrt(qq * kk));
}

static void inclusion_is_the_binomial_tail(void ** state) {
    (void)state;
    for (int i = 0; i <= 50; i++) {
        double angle = 3.14159 * i / 50.0;
        assert_true(fabs(vattn_lsh_inclusion(angle, 8, 75, 2) - twin_inclusion(angle, 8, 75, 2)) < 1e-9);
        assert_true(fabs(vattn_lsh_inclusion(angle, 3, 10, 4) - twin_inclusion(angle, 3, 10, 4)) < 1e-9);
        double c = pow(1.0 - angle / 3.141592653589793, 10); /* as published, for two collisions */
        double w = 1.0 - pow(1.0 - c, 150) - 150.0 * c * pow(1.0 - c, 149);
        assert_true(fabs(vattn_lsh_inclusion(angle, 10, 150, 2) - w) < 1e-9);
    }
    assert_true(vattn_lsh_inclusion(0.0, 10, 150, 2) == 1.0);
}

/* Over hash seeds, a row is proposed as often as its angle says. */
static void rows_collide_as_often_as_their_angles_say(void ** state) {
    (void)state;
    enum { N = 256, SEEDS = 1500 };
    struct vattn_options o = paper_options(VATTN_METHOD_MAGICPIG, N);
    struct layer l;
    float score[N];
    int hits[2][N] = {{0}};
    double worst = 0.0, low = 1.0, high = 0.0;
    layer_make(&l, &o, 70);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct vattn_selector * s = tables(&l, 4, 12, 2, seed);
        for (int i = 0; i < 2; i++) {
            s->kind->score(s, &l.kv, 3 * i, l.q + 3 * i * 32, N, score, NULL);
            for (int r = 0; r < N; r++) {
                hits[i][r] += score[r] >= 2.0F;
            }
        }
        vattn_selector_free(s);
    }
    for (int i = 0; i < 2; i++) {
        for (int64_t r = 0; r < N; r++) {
            double p = twin_inclusion(angle_of(&l, 3 * i, r), 4, 12, 2), sd = sqrt(p * (1.0 - p) / SEEDS);
            worst = fmax(worst, fabs((double)hits[i][r] / SEEDS - p) / sd);
            low = fmin(low, p);
            high = fmax(high, p);
        }
    }
    print_message("collision probabilities %.3f to %.3f; worst of %d deviates by %.2f sd\n", low, high, 2 * N, worst);
    assert_true(high > 0.5 && low < 0.1 && worst < 4.7); /* 512 comparisons: 4.7 sd in one of a thousand tests */
    layer_free(&l);
}

static void magicpig_agrees_with_twin(void ** state) {
    (void)state;
    enum { N = 900 };
    struct vattn_options o = paper_options(VATTN_METHOD_MAGICPIG, N);
    struct layer l;
    layer_make(&l, &o, 71);
    struct vattn_selector * s = tables(&l, 6, 40, 2, 5);
    paper_use_selector(&l, s);
    struct vattn_input in = layer_input(&l, 0);
    in.selector = s;
    const struct vattn_call * c = paper_attend(&l, &in);
    int64_t by_head = 0;
    for (int32_t h = 0; h < 4; h++) {
        uint64_t read[(N + 63) / 64] = {0};
        float score[N];
        double within[N];
        int64_t bytes = s->kind->score(s, &l.kv, h, l.q + h * 32, N, score, NULL), hits = 0, taken = 0;
        for (int64_t r = 0; r < N; r++) {
            hits += (int64_t)score[r];
            within[r] = score[r] >= 2.0F ? twin_inclusion(angle_of(&l, h, r), 6, 40, 2) : 0.0;
            taken += score[r] >= 2.0F && r >= 4 && r < N - 32;
        }
        assert_int_equal(bytes, 40 * 8 + 4 * hits + (h % 2 == 0 ? 40 * 6 * 32 * 4 : 0));
        by_head = (h % 2 == 0 ? 0 : by_head) + bytes + 4 * (32 + taken);
        struct paper_case which = {.method = VATTN_METHOD_MAGICPIG, .head = h, .within = within, .covered = N};
        paper_compare(&l, c, &which, read);
        if (h % 2 == 1) {
            assert_int_equal(l.cert[h].bytes, by_head + l.cert[h].rows_kv * 128);
            assert_int_equal(l.cert[h].rows_k, 0);
        }
    }
    assert_int_equal(vattn_selector_bytes(s), 4 * (40 * 6 * 32 + 2 * (32 + N + 40 * (64 + 1 + N))));
    vattn_selector_free(s);
    layer_free(&l);
}

/* The number of tables that agree, sign by sign in double precision. */
static void collisions_are_equal_signs(void ** state) {
    (void)state;
    enum { N = 200, K = 5, L = 30 };
    struct vattn_options o = paper_options(VATTN_METHOD_MAGICPIG, N);
    struct layer l;
    float plane[L * K * 32], score[N];
    int wrong = 0;
    layer_make(&l, &o, 72);
    struct vattn_selector * s = tables(&l, K, L, 2, 9);
    vattn_hyperplanes(9, L * K, 32, plane);
    s->kind->score(s, &l.kv, 2, l.q + 2 * 32, N, score, NULL);
    double mean[32] = {0};
    for (int r = 4; r < N - 32; r++) {
        for (int a = 0; a < 32; a++) {
            mean[a] += (double)l.k32[((size_t)r * 2 + 1) * 32 + (size_t)a] / (N - 36);
        }
    }
    for (int r = 0; r < N; r++) {
        int collisions = 0;
        for (int t = 0; t < L; t++) {
            bool all = true;
            for (int b = 0; b < K; b++) {
                double x = 0.0, y = 0.0;
                for (int a = 0; a < 32; a++) {
                    x += (double)plane[(t * K + b) * 32 + a] * ((double)l.k32[((size_t)r * 2 + 1) * 32 + (size_t)a] - mean[a]);
                    y += (double)plane[(t * K + b) * 32 + a] * (double)l.q[2 * 32 + a];
                }
                all = all && (x > 0.0) == (y > 0.0);
            }
            collisions += all;
        }
        wrong += collisions != (int)score[r];
    }
    assert_true(wrong <= 1); /* a projection may be zero up to rounding */
    vattn_selector_free(s);
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inclusion_is_the_binomial_tail), cmocka_unit_test(rows_collide_as_often_as_their_angles_say),
        cmocka_unit_test(magicpig_agrees_with_twin), cmocka_unit_test(collisions_are_equal_signs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
