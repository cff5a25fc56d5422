/* SPDX-License-Identifier: MIT */
#include "verify/sketch.h"

#include <math.h>

#include "base/half.h"
#include "base/random.h"

#define B     VATTN_BUCKETS
#define BLOCK 8

static float flip(float x, uint64_t top_bit) {
    return vattn_float_from_bits(vattn_float_bits(x) ^ (uint32_t)(top_bit >> 32 & UINT32_C(0x80000000)));
}

void vattn_sketch_signs(uint64_t key, const int32_t * row, int32_t n, float * a, float * b) {
    for (int32_t j = 0; j < n; j++) {
        uint64_t z = vattn_mix64(key + (uint64_t)(uint32_t)row[j] * UINT64_C(0x9E3779B97F4A7C15));
        a[j] = flip(a[j], z);
        b[j] = flip(b[j], z << 1);
    }
}

/* Largest eigenvalue of a symmetric positive [B][B] matrix by power iteration from the longest column. */
static double power_iteration(float gram[B][B]) {
    double x[B], y[B], lambda = 0.0;
    int longest = 0;
    for (int i = 1; i < B; i++) {
        longest = gram[i][i] > gram[longest][longest] ? i : longest;
    }
    for (int i = 0; i < B; i++) {
        x[i] = (double)gram[i][longest];
    }
    for (int step = 0; step < 30; step++) {
        double norm = 0.0;
        for (int i = 0; i < B; i++) {
            norm += x[i] * x[i];
        }
        if (!(norm > 0.0)) {
            return 0.0;
        }
        norm = 1.0 / sqrt(norm);
        lambda = 0.0;
        for (int i = 0; i < B; i++) {
            y[i] = 0.0;
            for (int j = 0; j < B; j++) {
                y[i] += (double)gram[i][j] * x[j] * norm;
            }
            lambda += y[i] * x[i] * norm;
        }
        for (int i = 0; i < B; i++) {
            x[i] = y[i];
        }
    }
    return lambda;
}

/* gram[i][j] = z_i . z_j for j <= i, and what is behind it up to the end of the block. */
static void lower_gram(const struct vattn_kernels * kern, const float * bucket, int32_t dim, float gram[B][B]) {
    struct vattn_rows rows = {.base = bucket, .stride = (size_t)dim * sizeof *bucket};
    for (int i = 0; i < B; i += BLOCK) {
        rows.n = i + BLOCK;
        kern->score[VATTN_TYPE_F32](&rows, bucket + (size_t)i * (size_t)dim, BLOCK, dim, gram[i], B);
    }
}

static void mirror(float gram[B][B]) {
    for (int i = 0; i < B; i++) {
        for (int j = i + 1; j < B; j++) {
            gram[i][j] = gram[j][i];
        }
    }
}

double vattn_sketch_trace2(const struct vattn_kernels * kern, const float * bucket, int32_t dim, double v, double yy,
                           double * top) {
    float gram[B][B];
    double met = 0.0, trace = 0.0, apart = 0.0;
    lower_gram(kern, bucket, dim, gram);
    for (int i = 0; i < B; i++) {
        float sum = 0.0F;
        for (int j = 0; j < i; j++) {
            sum += gram[i][j] * gram[i][j];
        }
        met += 2.0 * (double)sum;
        apart += 2.0 * trace * (double)gram[i][i];
        trace += (double)gram[i][i];
    }
    if (top != NULL) {
        mirror(gram);
        *top = trace > 0.0 ? fmin(v, v / trace * power_iteration(gram)) : v;
    }
    if (!(apart > 0.0)) {
        return v * v;
    }
    double share = met / apart; /* the ratio of two estimates that vary together: low by up to 8/B (share^1/2 - share) of itself */
    share *= 1.0 + 8.0 / B * (sqrt(share) - share);
    return fmin(v * v, yy + (v * v - yy) * share);
}
