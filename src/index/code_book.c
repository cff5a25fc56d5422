/* SPDX-License-Identifier: MIT
 *
 * The transform code of one KV head: basis, widths, steps.  Runs once per calibration, in double precision.
 */
#include "index/index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/row.h"
#include "base/sums.h"
#include "index/eigen.h"

#define REGULARISE 0.3 /* share of tr(S)/d added to the diagonal: queries of later steps differ from the prompt's */

/* Uniform mid-rise quantiser of a unit normal variable, optimal step and its error, bits 0..8 (Max 1960; Lloyd). */
static const double quantiser_step[9] = {0, 1.596, 0.9957, 0.586, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308};
static const double quantiser_mse[9] = {1, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.001041, 0.000304, 0.0000879};

double vattn_quantiser_mse(int bits) {
    return quantiser_mse[bits];
}

double vattn_quantiser_step(int bits) {
    return quantiser_step[bits];
}

void vattn_code_place(struct vattn_code_layout l, int32_t a, size_t * byte, int * shift) {
    if (a < l.n8) {
        *byte = (size_t)(a / 4) * 64 + (size_t)(a % 4);
        *shift = 0;
    } else if (a < l.n8 + l.n4) {
        int32_t i = a - l.n8;
        *byte = (size_t)(l.n8 / 4 + i / 8) * 64 + (size_t)(i % 4);
        *shift = i % 8 / 4 * 4;
    } else {
        int32_t i = a - l.n8 - l.n4;
        *byte = (size_t)(l.n8 / 4 + l.n4 / 8 + i / 16) * 64 + (size_t)(i % 4);
        *shift = i % 16 / 4 * 2;
    }
}

struct vattn_code_layout vattn_code_allocate(const double * lambda, int32_t d, size_t token_bytes) {
    double prefix[VATTN_MAX_DIM + 1];
    prefix[0] = 0.0;
    for (int32_t a = 0; a < d; a++) {
        prefix[a + 1] = prefix[a] + lambda[a];
    }
    struct vattn_code_layout best = {0, 0, 0};
    double least = INFINITY;
    int32_t budget = (int32_t)token_bytes;
    for (int32_t n8 = 0; n8 <= d && n8 <= budget; n8 += 4) {
        for (int32_t n4 = 0; n8 + n4 <= d && n8 + n4 / 2 <= budget; n4 += 8) {
            int32_t n2 = (budget - n8 - n4 / 2) * 4 / 16 * 16, left = (d - n8 - n4) / 16 * 16;
            n2 = n2 < left ? n2 : left;
            double error = quantiser_mse[8] * prefix[n8] + quantiser_mse[4] * (prefix[n8 + n4] - prefix[n8]) +
                           quantiser_mse[2] * (prefix[n8 + n4 + n2] - prefix[n8 + n4]) +
                           (prefix[d] - prefix[n8 + n4 + n2]);
            if (error < least) {
                least = error;
                best = (struct vattn_code_layout){n8, n4, n2};
            }
        }
    }
    return best;
}

/* c = a b, all [d][d]; transpose_a: c = a' b */
static void multiply(const double * a, const double * b, double * c, int32_t d, bool transpose_a) {
    memset(c, 0, (size_t)d * (size_t)d * sizeof *c);
    for (int32_t i = 0; i < d; i++) {
        for (int32_t k = 0; k < d; k++) {
            double f = transpose_a ? a[k * d + i] : a[i * d + k];
            for (int32_t j = 0; j < d; j++) {
                c[i * d + j] += f * b[k * d + j];
            }
        }
    }
}

/*
 * root = S^1/2, inverse = S^-1/2 of the regularised second moment, in units in which its mean eigenvalue is about 1: no
 * entry of a basis exceeds sqrt(d) or is needed below f16's range.  work, values: [d][d], [d]
 */
static bool moment_roots(const float * moment, int32_t d, double * root, double * inverse, double * work, double * values) {
    double trace = 0.0;
    for (int32_t i = 0; i < d * d; i++) {
        bool diagonal = i % (d + 1) == 0;
        work[i] = moment == NULL ? (diagonal ? 1.0 : 0.0) : 0.5 * ((double)moment[i] + (double)moment[i % d * d + i / d]);
        trace += diagonal ? work[i] : 0.0;
    }
    if (!(trace > 0.0)) {
        return false;
    }
    double unit = exp2(rint(log2(trace / d))); /* a power of two rounds nothing */
    for (int32_t i = 0; i < d * d; i++) {
        work[i] = (work[i] + (i % (d + 1) == 0 ? REGULARISE * trace / d : 0.0)) / unit;
    }
    trace /= unit;
    if (!vattn_eigen(work, values, d)) {
        return false;
    }
    for (int32_t i = 0; i < d; i++) {
        for (int32_t j = 0; j < d; j++) {
            double r = 0.0, v = 0.0;
            for (int32_t k = 0; k < d; k++) {
                double s = sqrt(fmax(values[k], 1e-12 * trace));
                r += work[i * d + k] * s * work[j * d + k];
                v += work[i * d + k] / s * work[j * d + k];
            }
            root[i * d + j] = r;
            inverse[i * d + j] = v;
        }
    }
    return true;
}

static enum vattn_type matrix_type(const struct vattn_code_book * book) {
    return book->halves ? VATTN_TYPE_F16 : VATTN_TYPE_F32;
}

void vattn_book_row(const struct vattn_code_book * book, const void * matrix, int32_t d, int32_t a, float * out) {
    vattn_row_read(matrix_type(book), vattn_book_rows(book, matrix, d, a, 1).base, d, out);
}

/* Stores x in the type of the book's matrices; x becomes what was stored. */
static void store_matrix(const struct vattn_code_book * book, void * matrix, double * x, int32_t d) {
    const size_t row_bytes = vattn_row_size(matrix_type(book), d);
    for (int32_t a = 0; a < d; a++, x += d) {
        char * stored = (char *)matrix + (size_t)a * row_bytes;
        float row[VATTN_MAX_DIM];
        for (int32_t j = 0; j < d; j++) {
            row[j] = (float)x[j];
        }
        vattn_row_write(matrix_type(book), row, d, stored);
        vattn_row_read(matrix_type(book), stored, d, row);
        for (int32_t j = 0; j < d; j++) {
            x[j] = (double)row[j];
        }
    }
}

/* One step of Newton's towards x = b^-T, for an x that almost is: x + (1 - x b^T) x.  work: [d][d] */
static void refine_inverse(const double * b, double * x, double * work, int32_t d) {
    double row[VATTN_MAX_DIM];
    for (int32_t i = 0; i < d; i++) {
        for (int32_t j = 0; j < d; j++) {
            double sum = i == j ? 1.0 : 0.0;
            for (int32_t k = 0; k < d; k++) {
                sum -= x[i * d + k] * b[j * d + k];
            }
            row[j] = sum;
        }
        for (int32_t j = 0; j < d; j++) {
            double sum = 0.0;
            for (int32_t k = 0; k < d; k++) {
                sum += row[k] * x[k * d + j];
            }
            work[i * d + j] = sum;
        }
    }
    for (int32_t i = 0; i < d * d; i++) {
        x[i] += work[i];
    }
}

/*
 * Rows of basis and inverse in order of falling eigenvalue; u has eigenvectors in columns, eigenvalues rising.  The inverse is
 * that of the basis as it was rounded.  b, x, work: [d][d]
 */
static void fill_basis(struct vattn_code_book * book, int32_t d, const double * u, const double * root, const double * inverse,
                       const double * mean, double * b, double * x, double * work) {
    for (int32_t a = 0; a < d; a++) {
        int32_t column = d - 1 - a;
        for (int32_t j = 0; j < d; j++) {
            double forth = 0.0, back = 0.0;
            for (int32_t k = 0; k < d; k++) {
                forth += u[k * d + column] * root[k * d + j];
                back += inverse[j * d + k] * u[k * d + column];
            }
            b[a * d + j] = forth;
            x[a * d + j] = back;
        }
    }
    store_matrix(book, book->basis, b, d);
    if (book->halves) {
        refine_inverse(b, x, work, d);
    }
    store_matrix(book, book->inverse, x, d);
    for (int32_t a = 0; a < d; a++) {
        double shift = 0.0;
        for (int32_t j = 0; j < d; j++) {
            shift += b[a * d + j] * mean[j];
        }
        book->shift[a] = (float)shift;
        book->mean[a] = (float)mean[a];
    }
}

static void fill_steps(struct vattn_code_book * book, int32_t d, const double * lambda) {
    for (int32_t a = 0; a < d; a++) {
        int bits = vattn_code_bits(book->layout, a);
        double l = fmax(lambda[a], 1e-30);
        book->error_var[a] = (float)(l * quantiser_mse[bits]);
        if (bits > 0) {
            book->step[a] = (float)(sqrt(l) * quantiser_step[bits]);
        }
    }
}

/* E over calibration queries of the squared score error: sum_a error_var_a * E[(inverse_a . q)^2] */
static float usual_sigma2(const struct vattn_code_book * book, int32_t d, const float * moment, double q_scale,
                          const double * inverse) {
    double sum = 0.0;
    for (int32_t a = 0; a < d; a++) {
        double e = 0.0;
        for (int32_t i = 0; i < d; i++) {
            double row = 0.0;
            for (int32_t j = 0; j < d; j++) {
                row += (moment == NULL ? (i == j) : (double)moment[i * d + j]) * inverse[a * d + j];
            }
            e += row * inverse[a * d + i];
        }
        sum += e * (double)book->error_var[a];
    }
    return (float)(sum * q_scale * q_scale);
}

enum vattn_status vattn_code_book_build(struct vattn_code_book * book, int32_t d, size_t token_bytes,
                                        const double * mean, const double * cov, const float * moment, double q_scale) {
    size_t m = (size_t)d * (size_t)d;
    double * mem = malloc((6 * m + 2 * (size_t)d) * sizeof(double));
    if (mem == NULL) {
        return VATTN_STATUS_NO_MEMORY;
    }
    double *root = mem, *inverse = mem + m, *a = mem + 2 * m, *t = mem + 3 * m, *work = mem + 4 * m;
    double *x = mem + 5 * m, *values = mem + 6 * m, *lambda = values + d;
    bool ok = moment_roots(moment, d, root, inverse, work, values);
    if (ok) {
        multiply(root, cov, t, d, false);
        multiply(t, root, a, d, false);
        for (int32_t i = 0; i < d; i++) { /* rounding must not make it unsymmetric */
            for (int32_t j = 0; j < i; j++) {
                a[i * d + j] = a[j * d + i] = 0.5 * (a[i * d + j] + a[j * d + i]);
            }
        }
        ok = vattn_eigen(a, values, d);
    }
    if (ok) {
        for (int32_t i = 0; i < d; i++) {
            lambda[i] = fmax(values[d - 1 - i], 0.0);
        }
        book->layout = vattn_code_allocate(lambda, d, token_bytes);
        fill_basis(book, d, a, root, inverse, mean, t, x, work);
        fill_steps(book, d, lambda);
        book->sigma2_usual = usual_sigma2(book, d, moment, q_scale, x);
        ok = isfinite(book->sigma2_usual);
    }
    free(mem);
    return ok ? VATTN_STATUS_OK : VATTN_STATUS_NOT_FINITE;
}

#define FIT_ROWS 1024

/* Mean squared error of a b-bit uniform mid-rise quantiser on y. */
static double quantiser_error(const float * y, int32_t n, float step, int bits) {
    const float half = (float)(1 << (bits - 1)), inverse = 1.0F / step;
    float r2[FIT_ROWS], sum[8] = {0};
    for (int32_t i = 0; i < n; i++) {
        float r = y[i] - vattn_code_value(vattn_code_level(y[i], inverse, half), step, half);
        r2[i] = r * r;
    }
    for (int32_t i = 0; i < n; i++) {
        sum[i & 7] += r2[i];
    }
    return (double)vattn_sum8(sum) / n;
}

void vattn_code_book_fit_steps(const struct vattn_kernels * kern, struct vattn_code_book * book, int32_t d, const float * x,
                               int32_t n) {
    static const float multiples[] = {0.5F, 0.6F, 0.7F, 0.8F, 0.9F, 1.0F, 1.12F, 1.25F, 1.4F, 1.6F, 1.9F, 2.3F, 3.0F};
    float y[FIT_ROWS], basis[VATTN_MAX_DIM];
    int32_t stride = (n + FIT_ROWS - 1) / FIT_ROWS, m = (n + stride - 1) / stride;
    struct vattn_rows rows = {.base = x, .stride = (size_t)stride * (size_t)d * sizeof *x, .n = m};
    for (int32_t a = 0; a < vattn_layout_coords(book->layout); a++) {
        vattn_book_row(book, book->basis, d, a, basis);
        kern->score[VATTN_TYPE_F32](&rows, basis, 1, d, y, FIT_ROWS);
        double least = INFINITY;
        float step = book->step[a];
        for (size_t k = 0; k < sizeof multiples / sizeof multiples[0]; k++) {
            double error = quantiser_error(y, m, step * multiples[k], vattn_code_bits(book->layout, a));
            if (error < least) {
                least = error;
                book->step[a] = step * multiples[k];
            }
        }
        book->error_var[a] = (float)least;
    }
}

#define FLOOR_SHARE 0.01

void vattn_code_book_floor_errors(struct vattn_code_book * book, int32_t d) {
    double sum = 0.0;
    for (int32_t a = 0; a < d; a++) {
        sum += (double)book->error_var[a];
    }
    float least = fmaxf((float)(FLOOR_SHARE * sum / d), 1e-30F);
    for (int32_t a = 0; a < d; a++) {
        book->error_var[a] = fmaxf(book->error_var[a], least);
    }
}
