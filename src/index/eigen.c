/* SPDX-License-Identifier: MIT
 *
 * Eigenvectors by LAPACK, one caller at a time, and checked: OpenBLAS behind it, called by two threads at once, now and then
 * returns wrong ones (one matrix in some thousands, Debian 12).  Others in the process may call it too, hence the check.
 */
#include "index/eigen.h"

#include <lapacke.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS  4
#define TOLERANCE 1e-9 /* relative; rounding brings some 1e-14 */

static atomic_flag in_use = ATOMIC_FLAG_INIT;

/* False for NaN, too. */
static bool near(double x, double y, double scale) {
    return fabs(x - y) <= TOLERANCE * scale;
}

/* A v = lambda v for column j, and |v| = 1; norm: of A. */
static bool is_eigenvector(const double * matrix, const double * vectors, double lambda, int32_t d, int32_t j, double norm) {
    double length2 = 0.0;
    for (int32_t i = 0; i < d; i++) {
        double product = 0.0, v = vectors[i * d + j];
        for (int32_t k = 0; k < d; k++) {
            product += matrix[i * d + k] * vectors[k * d + j];
        }
        if (!near(product, lambda * v, norm)) {
            return false;
        }
        length2 += v * v;
    }
    return near(length2, 1.0, 1.0);
}

/* The trace tells whether each eigenvalue is there as often as it should be. */
bool vattn_eigen_check(const double * matrix, const double * vectors, const double * values, int32_t d) {
    double trace = 0.0, sum = 0.0, norm2 = 0.0;
    for (int32_t i = 0; i < d * d; i++) {
        norm2 += matrix[i] * matrix[i];
    }
    for (int32_t i = 0; i < d; i++) {
        trace += matrix[i * d + i];
        sum += values[i];
        if (i > 0 && !(values[i - 1] <= values[i])) {
            return false;
        }
    }
    bool ok = near(sum, trace, sqrt(norm2) * d);
    for (int32_t j = 0; j < d && ok; j++) {
        ok = is_eigenvector(matrix, vectors, values[j], d, j, sqrt(norm2));
    }
    return ok;
}

static bool solve(double * a, double * values, int32_t d) {
    while (atomic_flag_test_and_set_explicit(&in_use, memory_order_acquire)) {
        (void)sched_yield();
    }
    bool ok = LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', d, a, d, values) == 0;
    atomic_flag_clear_explicit(&in_use, memory_order_release);
    return ok;
}

bool vattn_eigen(double * a, double * values, int32_t d) {
    const size_t bytes = (size_t)d * (size_t)d * sizeof *a;
    double * matrix = malloc(bytes);
    bool ok = false;
    if (matrix == NULL) {
        return false;
    }
    memcpy(matrix, a, bytes);
    for (int attempt = 0; attempt < ATTEMPTS && !ok; attempt++) {
        memcpy(a, matrix, bytes);
        ok = solve(a, values, d) && vattn_eigen_check(matrix, a, values, d);
    }
    free(matrix);
    return ok;
}
