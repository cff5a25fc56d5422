/* SPDX-License-Identifier: MIT
 *
 * Symmetric eigenproblems by cyclic Jacobi rotations: slow, short and accurate.
 */
#include <lapacke.h>

#include <math.h>
#include <stdlib.h>

/* s, v: [n][n] row-major.  Turns coordinates p and q so that s[p][q] vanishes; the columns of v turn along. */
static void rotate(double * s, double * v, int n, int p, int q) {
    const double apart = s[q * n + q] - s[p * n + p], twice = 2 * s[p * n + q];
    const double angle = 0.5 * atan2(twice, -apart);
    const double c = cos(angle), d = sin(angle);
    for (int k = 0; k < n; k++) { /* columns */
        const double x = s[k * n + p], y = s[k * n + q], vx = v[k * n + p], vy = v[k * n + q];
        s[k * n + p] = c * x + d * y;
        s[k * n + q] = c * y - d * x;
        v[k * n + p] = c * vx + d * vy;
        v[k * n + q] = c * vy - d * vx;
    }
    for (int k = 0; k < n; k++) { /* rows */
        const double x = s[p * n + k], y = s[q * n + k];
        s[p * n + k] = c * x + d * y;
        s[q * n + k] = c * y - d * x;
    }
}

/* Frobenius norms squared: outside the diagonal and of everything. */
static void norms(const double * s, int n, double * outside, double * all) {
    *outside = *all = 0;
    for (int i = 0; i < n * n; i++) {
        *all += s[i] * s[i];
        *outside += i % (n + 1) == 0 ? 0 : s[i] * s[i];
    }
}

static void sort_columns(const double * s, const double * v, int n, double * a, double * w) {
    for (int i = 0; i < n; i++) {
        int rank = 0;
        for (int j = 0; j < n; j++) {
            rank += s[j * n + j] < s[i * n + i] || (j < i && !(s[j * n + j] > s[i * n + i]));
        }
        w[rank] = s[i * n + i];
        for (int k = 0; k < n; k++) {
            a[k * n + rank] = v[k * n + i];
        }
    }
}

int LAPACKE_dsyevd(int layout, char job, char uplo, int n, double * a, int lda, double * w) {
    double * s = malloc((size_t)n * (size_t)n * sizeof *s);
    double * v = calloc((size_t)n * (size_t)n, sizeof *v);
    if (layout != LAPACK_ROW_MAJOR || job != 'V' || lda != n || s == NULL || v == NULL) {
        abort();
    }
    for (int i = 0; i < n; i++) { /* only one triangle is given */
        v[i * n + i] = 1;
        for (int j = 0; j < n; j++) {
            const int row = (uplo == 'U') == (i < j) ? i : j, column = row == i ? j : i;
            s[i * n + j] = a[row * n + column];
        }
    }
    double outside = 1, all = 0;
    for (int sweep = 0; sweep < 50 && outside > 1e-30 * all; sweep++) {
        for (int p = 0; p < n; p++) {
            for (int q = p + 1; q < n; q++) {
                rotate(s, v, n, p, q);
            }
        }
        norms(s, n, &outside, &all);
    }
    sort_columns(s, v, n, a, w);
    free(s);
    free(v);
    return outside > 1e-30 * all;
}
