/* SPDX-License-Identifier: MIT
 *
 * All tables that this machine supports against the twins in ref/, planted defects against the tests themselves, and
 * the sampler's frequencies.
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
#include "check_kernels.h"
#include "vattn.h"

static void tables_agree_with_their_twins(void ** state) {
    (void)state;
    const struct vattn_kernels * table;
    for (int32_t i = 0; (table = vattn_kernels_supported(i)) != NULL; i++) {
        assert_int_equal(check_kernels(table, false, false), 0);
    }
}

/* --------------------------------------------------------------------------------------------- planted defects */

static const struct vattn_kernels * const good = &vattn_kernels_generic;
static enum vattn_type planted; /* the type of rows whose function is bad */

static void score_without_last(const struct vattn_rows * rows, const float * q, int32_t n_heads, int32_t dim,
                               float * out, ptrdiff_t ld) {
    float * zeroed = malloc((size_t)(n_heads * dim) * sizeof *zeroed);
    assert_non_null(zeroed);
    memcpy(zeroed, q, (size_t)(n_heads * dim) * sizeof *zeroed);
    for (int32_t g = 0; g < n_heads; g++) {
        zeroed[g * dim + dim - 1] = 0;
    }
    good->score[planted](rows, zeroed, n_heads, dim, out, ld);
    free(zeroed);
}

static void accumulate_once_too_often(const struct vattn_rows * rows, const float * weight, ptrdiff_t ld,
                                      int32_t n_heads, int32_t dim, float * acc) {
    good->accumulate[planted](rows, weight, ld, n_heads, dim, acc);
    struct vattn_rows one = *rows;
    one.n = rows->n > 16;
    good->accumulate[planted](&one, weight, ld, n_heads, dim, acc);
}

static void distance_to_first_center(const struct vattn_rows * rows, const float * center, int32_t n_heads,
                                     int32_t dim, float * dist2, ptrdiff_t ld) {
    for (int32_t g = 0; g < n_heads; g++) {
        good->distance[planted](rows, center, 1, dim, dist2 + g * ld, ld);
    }
}

static void offset_of_one_center(const struct vattn_rows * rows, const struct vattn_rows * centers, int32_t dim,
                                 float * dist2, float * out, ptrdiff_t ld) {
    struct vattn_rows one = *centers;
    int32_t * same = calloc((size_t)rows->n + 1, sizeof *same);
    assert_non_null(same);
    for (int32_t j = 0; j < rows->n; j++) {
        same[j] = centers->index[0];
    }
    one.index = same;
    good->offset[planted](rows, &one, dim, dist2, out, ld);
    free(same);
}

static float max_with_zero(const float * x, int32_t n) {
    return fmaxf(good->max(x, n), n % 8 ? 0 : -INFINITY);
}

static float exp2_sum_crude(float * x, int32_t n, float m) {
    const float sum = good->exp2_sum(x, n, m);
    for (int32_t j = 0; j < n; j++) {
        x[j] *= 1 + 5e-7f;
    }
    return sum;
}

/* A tier that adds two 8-bit products in 16 bits saturates; weights cut to 126 are what that looks like. */
static void scan_saturating(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                            const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld) {
    good->scan(codes, n_blocks, layout, query, n_heads, out, ld);
    for (int32_t i = 0; i < 16 * n_blocks; i++) {
        out[i] = out[i] > 1000 ? 1000 : out[i];
    }
}

static int32_t select_biased(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int64_t first,
                             int32_t n_blocks, const uint16_t * visible, const uint16_t * sure, const int8_t * bonus,
                             int32_t floor, const struct vattn_random_key * key, int32_t * rows, int32_t * prob,
                             int32_t * draw) {
    return good->select(score, ld, threshold, n_heads, first, n_blocks, visible, sure, bonus, floor + 1, key, rows,
                        prob, draw);
}

/* A floor of half the right one. */
static int32_t thin_independent(const float * score, ptrdiff_t ld, const float * threshold, int32_t n_heads, int32_t n,
                                const int8_t * bonus, int32_t shift, int32_t * prob, const int32_t * draw,
                                int32_t * keep, int32_t * n_tail) {
    return good->thin(score, ld, threshold, n_heads, n, bonus, shift + 1, prob, draw, keep, n_tail);
}

static int32_t failures(struct vattn_kernels table) {
    struct check check = {&table, true, true, 20261124, 0, 0};
    check_max(&check);
    check_exp2_sum(&check);
    check_scan(&check);
    check_design(&check);
    check_select(&check);
    check_thin(&check);
    check_score(&check);
    check_accumulate(&check);
    check_distance(&check);
    check_offset(&check);
    return check.n_failures;
}

static void planted_defects_are_found(void ** state) {
    (void)state;
    struct vattn_kernels bad = *good;
    assert_int_equal(failures(bad), 0);
    for (int t = 0; t < VATTN_TYPE_COUNT; t++) {
        planted = (enum vattn_type)t;
        bad.score[t] = score_without_last;
        assert_true(failures(bad) > 0);
        bad = *good;
        bad.accumulate[t] = accumulate_once_too_often;
        assert_true(failures(bad) > 0);
        bad = *good;
        bad.distance[t] = distance_to_first_center;
        assert_true(failures(bad) > 0);
        bad = *good;
        bad.offset[t] = offset_of_one_center;
        assert_true(failures(bad) > 0);
        bad = *good;
    }
    for (int32_t i = 0; i < 2; i++) { /* bits of halves taken for those of bf16, and the other way round */
        bad.score[i == 0 ? VATTN_TYPE_F16 : VATTN_TYPE_BF16] = good->score[i == 0 ? VATTN_TYPE_BF16 : VATTN_TYPE_F16];
        assert_true(failures(bad) > 0);
        bad = *good;
    }
    bad.max = max_with_zero;
    assert_true(failures(bad) > 0);
    bad = *good;
    bad.exp2_sum = exp2_sum_crude;
    assert_true(failures(bad) > 0);
    bad = *good;
    bad.scan = scan_saturating;
    assert_true(failures(bad) > 0);
    bad = *good;
    bad.select = select_biased;
    assert_true(failures(bad) > 0);
    bad = *good;
    bad.thin = thin_independent;
    assert_true(failures(bad) > 0);
}

/* ------------------------------------------------------------------------------------------------- frequencies */

/* Tokens at probability p: the number taken is binomial; so are joint takings of neighbours (every word of a counter
 * against the next).  |z| < 5.5 fails a right sampler once in 2.6e7 tests; seeds are fixed. */
static void draws_have_their_probability(void ** state) {
    (void)state;
    enum { N = 1 << 20, N_BLOCKS = N / 16 };
    static const float log2_p[] = {0.0f, -1.0f, -3.0f, -5.5f, -10.0f};
    float * score = malloc(N * sizeof *score);
    int32_t * rows = malloc((N + 16) * sizeof *rows);
    int32_t * prob = malloc((N + 16) * sizeof *prob);
    int32_t * drawn = malloc((N + 16) * sizeof *drawn);
    assert_non_null(score);
    assert_non_null(rows);
    assert_non_null(prob);
    const struct vattn_kernels * table;
    for (int32_t t = 0; (table = vattn_kernels_supported(t)) != NULL; t++) {
        for (size_t i = 0; i < sizeof log2_p / sizeof log2_p[0]; i++) {
            for (int32_t j = 0; j < N; j++) {
                score[j] = log2_p[i];
            }
            const float threshold = 0;
            const struct vattn_random_key key = {
                {7, (uint32_t)i}, {3, 0}, vattn_random_stream(VATTN_RANDOM_TEST, 5, 2)};
            const int32_t count =
                table->select(score, 0, &threshold, 1, 0, N_BLOCKS, NULL, NULL, NULL, 0, &key, rows, prob, drawn);
            const double p = prob[0] * 0x1p-24;
            const double expected_p = i == 3 ? 0.75 * 0x1p-5 : exp2((double)log2_p[i]);
            assert_true(fabs(p - expected_p) < 0x1p-23);
            int32_t pairs = 0, by_word[4] = {0, 0, 0, 0};
            for (int32_t j = 0; j < count; j++) {
                by_word[rows[j] & 3]++;
                pairs += j > 0 && rows[j] == rows[j - 1] + 1;
            }
            if (p == 1) {
                assert_int_equal(count, N);
                continue;
            }
            assert_true(fabs(count - N * p) < 5.5 * sqrt(N * p * (1 - p)));
            assert_true(fabs(pairs - N * p * p) < 5.5 * sqrt(N * p * p * (1 + 2 * p)) + 1);
            double chi2 = 0;
            for (int32_t w = 0; w < 4; w++) {
                const double n = N / 4.0;
                chi2 += (by_word[w] - n * p) * (by_word[w] - n * p) / (n * p * (1 - p));
            }
            assert_true(chi2 < 38); /* 4 degrees of freedom, 1e-7 */
        }
    }
    free(score);
    free(rows);
    free(prob);
    free(drawn);
}

static void tiers_parse(void ** state) {
    (void)state;
    uint32_t mask = 77;
    assert_true(vattn_tiers_parse("", &mask));
    assert_int_equal(mask, 0);
    assert_true(vattn_tiers_parse("avx512,neon", &mask));
    assert_int_equal(mask, VATTN_TIER_AVX512 | VATTN_TIER_NEON);
    assert_true(vattn_tiers_parse("avx2", &mask));
    assert_int_equal(mask, VATTN_TIER_AVX2);
    static const char * const unknown[] = {"sse2", "avx", "avx22", "avx2,", ",avx2", "avx2,,neon", "AVX2", "avx2 "};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_false(vattn_tiers_parse(unknown[i], &mask));
        assert_int_equal(mask, VATTN_TIER_AVX2);
    }
    assert_ptr_equal(vattn_kernels_pick(VATTN_TIER_AVX512 | VATTN_TIER_AVX2 | VATTN_TIER_NEON), &vattn_kernels_generic);
    assert_non_null(vattn_kernels_pick(0));
}

/* Which table a processor gets, whatever this one is. */
static void tiers_are_picked_by_features(void ** state) {
    (void)state;
#if defined(__x86_64__)
    static const struct {
        struct vattn_cpu_features cpu;
        uint32_t disabled;
        const char * name;
    } cases[] = {
        {{.avx2 = true, .avx512 = true, .avx512_worthwhile = true}, 0, "avx512"},
        {{.avx2 = true, .avx512 = true, .avx512_worthwhile = true}, VATTN_TIER_AVX512, "avx2"},
        {{.avx2 = true, .avx512 = true, .avx512_worthwhile = true}, VATTN_TIER_AVX2, "generic"},
        {{.avx2 = true, .avx512 = true}, 0, "avx2"},
        {{.avx2 = true}, 0, "avx2"},
#if defined(VATTN_HAVE_AVXVNNI)
        {{.avx2 = true, .avxvnni = true}, 0, "avx2-vnni"},
        {{.avx2 = true, .avxvnni = true}, VATTN_TIER_AVX512, "avx2-vnni"},
        {{.avx2 = true, .avxvnni = true}, VATTN_TIER_AVX2, "generic"},
#endif
        {{.avx2 = false}, 0, "generic"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(vattn_kernels_pick_for(cases[i].cpu, cases[i].disabled)->name, cases[i].name);
    }
#elif defined(__AARCH64EL__)
    assert_string_equal(vattn_kernels_pick_for((struct vattn_cpu_features){.neon = true}, 0)->name, "neon");
    assert_string_equal(vattn_kernels_pick_for((struct vattn_cpu_features){.neon = true, .dotprod = true}, 0)->name,
                        "neon-dotprod");
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_agree_with_their_twins),
        cmocka_unit_test(planted_defects_are_found),
        cmocka_unit_test(draws_have_their_probability),
        cmocka_unit_test(tiers_parse),
        cmocka_unit_test(tiers_are_picked_by_features),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
