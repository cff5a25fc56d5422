/* SPDX-License-Identifier: MIT */
#include "verify/sketch.h"

#include <math.h>

#include "kernels/kernels.h"

#define B VATTN_BUCKETS

static double dot(const float * a, const float * b, int32_t n) {
    float s[16] = {0};
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int32_t k = 0; k < 16; k++) {
            s[k] += a[i + k] * b[i + k];
        }
    }
    double sum = 0.0;
    for (int32_t k = 0; k < 16; k++) {
        sum += (double)s[k];
    }
    for (; i < n; i++) {
        sum += (double)(a[i] * b[i]);
    }
    return sum;
}

/* Largest eigenvalue of a symmetric positive [B][B] matrix by power iteration from the longest column. */
static double power_iteration(double gram[B][B]) {
    double x[B], y[B], lambda = 0.0;
    int longest = 0;
    for (int i = 1; i < B; i++) {
        longest = gram[i][i] > gram[longest][longest] ? i : longest;
    }
    for (int i = 0; i < B; i++) {
        x[i] = gram[i][longest];
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
                y[i] += gram[i][j] * x[j] * norm;
            }
            lambda += y[i] * x[i] * norm;
        }
        for (int i = 0; i < B; i++) {
            x[i] = y[i];
        }
    }
    return lambda;
}

double vattn_sketch_trace2(const float * bucket, int32_t dim, double yy, double * top) {
    double gram[B][B], off = 0.0;
    for (int i = 0; i < B; i++) {
        for (int j = 0; j <= i; j++) {
            gram[i][j] = gram[j][i] = dot(bucket + i * dim, bucket + j * dim, dim);
            off += i == j ? 0.0 : 2.0 * gram[i][j] * gram[i][j];
        }
    }
    if (top != NULL) {
        *top = power_iteration(gram);
    }
    return yy + (double)B / (B - 1) * off;
}
