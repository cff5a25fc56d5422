/* SPDX-License-Identifier: MIT
 *
 * How far an exact score can be from its proxy.  With w = B^-T q as computed, d = q - B' w (its rounding), t_a = w_a step_a,
 * and W_a the integer weight times its scale:
 *
 *     s - s^ = sum_a w_a (y - y^)_a  +  sum_a (t_a - W_a) centred code_a  +  <d, k - mean>  +  rounding of f32
 *
 * The first sum is bounded by Cauchy and Schwarz, in the Euclidean norm and in the one of the expected errors; the rest,
 * the same for all rows, is the slack.
 */
#include "strict/strict.h"

#include <math.h>

#define UNIT 0x1p-24 /* rounding of f32 */

static double norm(const float * x, int32_t n) {
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum);
}

/* |q - B' w| and |B|, in double. */
static double mismatch(const struct vattn_code_book * b, const float * q, const float * w, int32_t d,
                       double * basis_norm) {
    double rest[VATTN_MAX_DIM], sum = 0.0, square = 0.0;
    for (int32_t j = 0; j < d; j++) {
        rest[j] = (double)q[j];
    }
    for (int32_t a = 0; a < d; a++) {
        float row[VATTN_MAX_DIM];
        vattn_book_row(b, b->basis, d, a, row);
        for (int32_t j = 0; j < d; j++) {
            rest[j] -= (double)w[a] * (double)row[j];
            square += (double)row[j] * (double)row[j];
        }
    }
    for (int32_t j = 0; j < d; j++) {
        sum += rest[j] * rest[j];
    }
    *basis_norm = sqrt(square);
    return sqrt(sum);
}

/* Rounding of the weights to int8 against the largest codes, and the largest size of the integer sums in f32. */
static double weights_rounding(const struct vattn_code_book * b, const float * w, const struct vattn_query_code * code,
                               double * size) {
    struct vattn_code_layout l = b->layout;
    double sum = 0.0;
    *size = fabs((double)code->offset);
    for (int32_t a = 0; a < vattn_layout_coords(l); a++) {
        float scale = a < l.n8 ? code->scale8 : a < l.n8 + l.n4 ? code->scale4 : code->scale2;
        double levels = (double)(1 << vattn_code_bits(l, a)), used = (double)scale * (double)code->weight[a];
        sum += fabs((double)w[a] * (double)b->step[a] - used) * (0.5 * levels - 0.5);
        *size += fabs(used) * levels;
    }
    return sum;
}

struct vattn_score_bound vattn_strict_bound(const struct vattn_call * c, int32_t g, const float * q,
                                            const struct vattn_query_code * code) {
    const struct vattn_code_book * b = &c->in.index->books[g];
    int32_t d = c->plan->opt.head_dim;
    float w[VATTN_MAX_DIM];
    struct vattn_rows inverse = vattn_book_rows(b, b->inverse, d, 0, d);
    c->plan->kern->score[b->halves ? VATTN_TYPE_F16 : VATTN_TYPE_F32](&inverse, q, 1, d, w, d);
    double basis_norm, size, unlikely2 = 0.0;
    double lost = mismatch(b, q, w, d, &basis_norm), rounding = weights_rounding(b, w, code, &size);
    double key = (double)vattn_reach_key_norm(c->in.index, g, c->in.kv->n_keys) + norm(b->mean, d);
    for (int32_t a = 0; a < d; a++) {
        unlikely2 += (double)w[a] * (double)w[a] * (double)b->error_var[a];
    }
    double terms = UNIT * (2 * d + 16), exact = terms * norm(q, d) * key;
    double f32 = exact + terms * (norm(w, d) * basis_norm * key + size);
    return (struct vattn_score_bound){.residual = (float)(norm(w, d) * 1.0001),
                                      .unlikely = (float)(sqrt(unlikely2) * 1.0001),
                                      .slack = (float)((rounding + lost * key + f32) * 1.0001),
                                      .exact = (float)(exact * 1.0001)};
}
