/* SPDX-License-Identifier: MIT */
#include "verify/directions.h"

#include <math.h>

#include "base/sums.h"

#define N     VATTN_PICKS
#define BLOCK 8
#define STEPS 30

/* gram[i][j] = x_i . x_j for j <= i, and what is behind it up to the end of the block. */
static void lower_gram(const struct vattn_kernels * kern, const float * x, int32_t n, int32_t dim, float gram[N][N]) {
    struct vattn_rows rows = {.base = x, .stride = (size_t)dim * sizeof *x};
    for (int32_t i = 0; i < n; i += BLOCK) {
        int32_t heads = n - i < BLOCK ? n - i : BLOCK;
        rows.n = i + heads;
        kern->score[VATTN_TYPE_F32](&rows, x + (size_t)i * (size_t)dim, heads, dim, gram[i], N);
    }
}

/* Over the pairs of picks of different rows; picks of one row follow one another. */
static double mean_square(float gram[N][N], const int32_t * row, int32_t n) {
    vattn_four sum[2] = {{0}, {0}};
    float same = 0.0F;
    int32_t pairs = n * (n - 1) / 2;
    for (int32_t i = 1; i < n; i++) {
        vattn_add_products(sum, gram[i], gram[i], i);
        for (int32_t j = i - 1; j >= 0 && row[j] == row[i]; j--, pairs--) {
            same += gram[i][j] * gram[i][j];
        }
    }
    return pairs > 0 ? fmin(1.0, fmax(0.0, ((double)vattn_sum_lanes(sum[0], sum[1]) - (double)same) / pairs)) : 1.0;
}

static void mirror(float gram[N][N], int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        for (int32_t j = i + 1; j < n; j++) {
            gram[i][j] = gram[j][i];
        }
    }
}

/* Largest eigenvalue of the symmetric [n][n] matrix by power iteration. */
static double power_iteration(const struct vattn_kernels * kern, float gram[N][N], int32_t n) {
    const struct vattn_rows rows = {.base = gram, .stride = sizeof gram[0], .n = n};
    float x[N], y[N];
    double lambda = 0.0;
    for (int32_t i = 0; i < n; i++) { /* not orthogonal to the cluster of any pick */
        x[i] = gram[i][0] + gram[i][n / 2] + 0.5F;
    }
    for (int step = 0; step < STEPS; step++) {
        double norm2 = 0.0, along = 0.0;
        kern->score[VATTN_TYPE_F32](&rows, x, 1, n, y, N);
        for (int32_t i = 0; i < n; i++) {
            norm2 += (double)x[i] * (double)x[i];
            along += (double)x[i] * (double)y[i];
        }
        if (!(norm2 > 0.0)) {
            return n;
        }
        lambda = along / norm2;
        float scale = (float)(1.0 / fmax(lambda, 1e-3));
        for (int32_t i = 0; i < n; i++) {
            x[i] = y[i] * scale;
        }
    }
    return lambda;
}

struct vattn_directions vattn_directions_of(const struct vattn_kernels * kern, const float * x, const int32_t * row,
                                            int32_t n, int32_t dim, bool want_top) {
    struct vattn_directions d = {1.0, 1.0};
    float gram[N][N];
    if (n < 2) {
        return d;
    }
    lower_gram(kern, x, n, dim, gram);
    d.share = mean_square(gram, row, n);
    if (want_top) {
        mirror(gram, n);
        d.top = fmin(1.0, power_iteration(kern, gram, n) / n);
    }
    return d;
}

int32_t vattn_directions_pick(const float * y, int32_t n, double step, double * sum, double * next, int32_t * pick, int32_t room) {
    int32_t found = 0;
    double total = *sum;
    for (int32_t j = 0; j < n;) {
        if (j + BLOCK <= n) { /* most blocks have no pick, and one addition for eight is a chain an eighth as long */
            const double block = (double)vattn_sum_lanes(vattn_load4(y + j), vattn_load4(y + j + 4));
            if (total + block <= *next) {
                total += block;
                j += BLOCK;
                continue;
            }
        }
        for (const int32_t end = n - j < BLOCK ? n : j + BLOCK; j < end; j++) {
            total += (double)y[j];
            for (; total > *next && found < room; *next += step) {
                pick[found++] = j;
            }
        }
    }
    *sum = total;
    return found;
}
