/* SPDX-License-Identifier: MIT
 *
 * The one function of LAPACK that the library calls, for targets without LAPACK (the preset neon).
 */
#ifndef VATTN_TEST_LAPACKE_H
#define VATTN_TEST_LAPACKE_H

#define LAPACK_ROW_MAJOR 101

/* All eigenvalues, rising, to w, and eigenvectors to the columns of a; job 'V', row-major only. */
int LAPACKE_dsyevd(int layout, char job, char uplo, int n, double * a, int lda, double * w);

#endif
