/* SPDX-License-Identifier: MIT
 *
 * Reach: how far the exact score of a row can be from its proxy, and its value from the mean value, one byte each on a
 * grid of powers, rounded up.  Kept only for plans whose method proves its bounds (strict).
 *
 *     |s - s^| <= min( |w| residual,  |w|_var unlikely ) + slack        w = B^-T q, |w|_var^2 = sum w_a^2 error_var_a
 *     residual = |y - y^|        unlikely^2 = sum (y - y^)_a^2 / error_var_a        value = |v - c|
 *
 * Rows on the escape list need neither: their keys are read.  The largest residual that is not on it is the top of the grid.
 */
#include "index/index.h"

#include <math.h>

#define SCORE_STEPS  16 /* of a residual's grid, per octave */
#define VALUE_STEPS  8
#define VALUE_MIDDLE 128    /* byte of v_rms */
#define SAFETY       1.0001 /* sums of squares in f32 */

static double residual_top(const struct vattn_code_book * b) {
    return fmax(sqrt((double)b->escape_above), 1e-15) * SAFETY;
}

static double unlikely_top(int32_t d) {
    return sqrt((double)(VATTN_ESCAPE_UNLIKELY * (float)d)) * SAFETY;
}

static float grid(double top, int byte, int top_byte, int steps) {
    return (float)(top * exp2((double)(byte - top_byte) / steps) * SAFETY);
}

/* The least byte whose value is not below x; 256 if there is none. */
static int round_up(double x, double top, int top_byte, int steps) {
    double at = ceil(steps * log2(x / top)) + top_byte;
    int byte = !(at > 0.0) ? 0 : at > 255.0 ? 256 : (int)at;
    while (byte <= 255 && (double)grid(top, byte, top_byte, steps) < x) {
        byte++;
    }
    return byte;
}

void vattn_reach_tables(const struct vattn_index * x, int32_t g, struct vattn_reach_tables * out) {
    const struct vattn_code_book * b = &x->books[g];
    for (int i = 0; i < 256; i++) {
        out->residual[i] = grid(residual_top(b), i, 255, SCORE_STEPS);
        out->unlikely[i] = grid(unlikely_top(x->plan->opt.head_dim), i, 255, SCORE_STEPS);
        out->value[i] = grid((double)b->v_rms, i, VALUE_MIDDLE, VALUE_STEPS);
    }
}

bool vattn_reach_store(struct vattn_index * x, int32_t g, int64_t row, float residual2, float unlikely, float dist2) {
    const struct vattn_code_book * b = &x->books[g];
    uint8_t * at = x->reach + 3 * ((size_t)g * (size_t)x->capacity + (size_t)row);
    int residual = round_up(sqrt((double)residual2) * SAFETY, residual_top(b), 255, SCORE_STEPS);
    int odd = round_up(sqrt((double)unlikely) * SAFETY, unlikely_top(x->plan->opt.head_dim), 255, SCORE_STEPS);
    int value = round_up(sqrt((double)dist2) * SAFETY, (double)b->v_rms, VALUE_MIDDLE, VALUE_STEPS);
    at[0] = (uint8_t)(residual > 255 ? 255 : residual); /* off the grid: on the escape list */
    at[1] = (uint8_t)(odd > 255 ? 255 : odd);
    at[2] = (uint8_t)(value > 255 ? 255 : value);
    return value <= 255;
}

float vattn_reach_key_norm(const struct vattn_index * x, int32_t g, int64_t n) {
    const float * tiles = x->key_norm + (size_t)g * (size_t)(x->capacity / 64);
    float most = 0.0F;
    for (int64_t t = 0; t * 64 < n && t * 64 < x->capacity; t++) {
        most = fmaxf(most, tiles[t]);
    }
    return most;
}
