/* SPDX-License-Identifier: MIT
 *
 * The whole library as a program without other libraries, for emulated processors, with the best tier and without any:
 * exact attention is right to rounding, sparse attention misses no more often than it promised.
 */
#include <math.h>
#include <stdio.h>

#include "kernels/kernels.h"
#include "unit/layer.h"
#include "verify/quantile.h"

enum { HEADS = 6, DIM = 40, N = 2000, DRAWS = 100 }; /* 40: rows of 80 bytes, no power of two */

static const struct {
    const char * name;
    uint32_t disabled;
} tiers[] = {{"best tier", 0}, {"generic tier", VATTN_TIER_AVX512 | VATTN_TIER_AVX2 | VATTN_TIER_NEON}};

static struct vattn_options options(enum vattn_method method, enum vattn_type type, uint32_t disabled) {
    struct vattn_options o = layer_options(HEADS, 2, DIM, N);
    o.method = method;
    o.k_type = o.v_type = type;
    o.eps = 0.25;
    o.max_rows = 1.0; /* sample as long as possible: exact answers prove nothing here */
    o.disabled_tiers = disabled;
    return o;
}

/* Smallest k with P(Binomial(DRAWS, delta) > k) <= 1e-6. */
static int miss_limit(double delta) {
    int k = 0;
    while (vattn_incomplete_beta(k + 1.0, DRAWS - k, delta) > 1e-6) {
        k++;
    }
    return k;
}

static int check_exact(const char * name, enum vattn_type type, uint32_t disabled) {
    const struct vattn_options o = options(VATTN_METHOD_EXACT, type, disabled);
    struct layer l;
    layer_make(&l, &o, 7);
    const struct vattn_input in = layer_input(&l, 0);
    const enum vattn_status status = vattn_attend(l.plan, &in, l.work, l.work_bytes);
    const double error = layer_error(&l);
    layer_free(&l);
    printf("exact  %s %s: error %.1e\n", type == VATTN_TYPE_F16 ? "f16" : "f32", name, error);
    return status != VATTN_STATUS_OK || !(error < 1e-5);
}

static int check_sparse(const char * name, uint32_t disabled) {
    const struct vattn_options o = options(VATTN_METHOD_SPARSE, VATTN_TYPE_F16, disabled);
    struct layer l;
    double truth[HEADS][DIM], rows = 0;
    int misses[HEADS] = {0}, certified = 0, worst = 0, failures = 0;
    layer_make(&l, &o, 7);
    layer_index(&l);
    const int limit = miss_limit(l.options.delta);
    for (int h = 0; h < HEADS; h++) {
        layer_truth(&l, h, truth[h]);
    }
    for (uint64_t r = 0; r < DRAWS; r++) {
        const struct vattn_input in = layer_input(&l, r);
        failures += vattn_attend(l.plan, &in, l.work, l.work_bytes) != VATTN_STATUS_OK;
        for (int h = 0; h < HEADS; h++) {
            double difference = 0, norm = 0;
            for (int a = 0; a < DIM; a++) {
                const double x = (double)l.out[h * DIM + a] - truth[h][a];
                difference += x * x;
                norm += truth[h][a] * truth[h][a];
            }
            misses[h] += !(difference <= l.options.eps * l.options.eps * norm);
            certified += l.cert[h].answer == VATTN_ANSWER_CERTIFIED;
            rows += (double)l.cert[h].rows_kv / N / HEADS / DRAWS;
        }
    }
    for (int h = 0; h < HEADS; h++) {
        worst = misses[h] > worst ? misses[h] : worst;
    }
    printf("sparse f16 %s: worst head misses %d of %d (limit %d), rows %.3f, certified %.3f\n", name, worst, DRAWS,
           limit, rows, (double)certified / DRAWS / HEADS);
    layer_free(&l);
    return failures + (worst > limit) + (certified < DRAWS * HEADS / 2);
}

int main(void) {
    int failures = 0;
    for (int i = 0; i < 2; i++) {
        failures += check_exact(tiers[i].name, VATTN_TYPE_F16, tiers[i].disabled);
        failures += check_exact(tiers[i].name, VATTN_TYPE_F32, tiers[i].disabled);
        failures += check_sparse(tiers[i].name, tiers[i].disabled);
    }
    return failures != 0;
}
