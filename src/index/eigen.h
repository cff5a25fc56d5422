/* SPDX-License-Identifier: MIT */
#ifndef VATTN_EIGEN_H
#define VATTN_EIGEN_H

#include <stdbool.h>
#include <stdint.h>

/* a: symmetric [d][d], row-major -> eigenvectors in its columns; values: [d], rising.  Any thread; false: no memory, not finite, or
 * LAPACK failed again and again. */
bool vattn_eigen(double * a, double * values, int32_t d);

/* Are these the eigenvectors and eigenvalues of the matrix? */
bool vattn_eigen_check(const double * matrix, const double * vectors, const double * values, int32_t d);

#endif
