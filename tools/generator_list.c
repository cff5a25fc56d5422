/* SPDX-License-Identifier: MIT
 * The generators.  Each one starts from the usual layer of generator_draft.h and changes what shall break. */
#include "generator_draft.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- spread of scores */

static void flat_shape(struct draft * draft) {
    draft->spread = 0.3;
}

static void sharp_shape(struct draft * draft) {
    draft->spread = 5;
}

static void quiet_shape(struct draft * draft) {
    draft->spread = 0.5;
}

/* Coordinate 0 carries a logit that `row` chooses, in nats for the first head and up to 40 % more for the others. */
static void logit_queries(struct draft * draft) {
    const size_t d = (size_t)draft->d;
    const float least = 4 / draft->scale;
    double square = 0;
    for (int32_t i = 0; i < draft->steps * draft->n_heads; i++) {
        const float q = least * (1 + 0.4f * (float)(i % draft->group) / (float)draft->group);
        draft->q[(size_t)i * d] = q;
        square += (double)(q * q) / (draft->steps * draft->n_heads);
    }
    for (size_t g = 0; g < (size_t)draft->kv_heads; g++)
        draft->moment[g * d * d] = (float)square;
}

static float logit_key(double nats) {
    return (float)(nats / 4);
}

static void lognormal_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                          float * v) {
    (void)draft, (void)g, (void)row, (void)v;
    k[0] = logit_key(fmin(12, exp(0.8 * random_normal(random))));
}

static void cauchy_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                       float * v) {
    (void)draft, (void)g, (void)row, (void)v;
    k[0] = logit_key(fmax(-12, fmin(12, 0.5 * tan(3.141592653589793 * (random_uniform(random) - 0.5)))));
}

/* A Pareto tail of weights with index 1: the largest few rows always matter, however many there are. */
static void pareto_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                       float * v) {
    (void)draft, (void)g, (void)row, (void)v;
    k[0] = logit_key(fmin(14, -log(random_uniform(random))));
}

static void sinks_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                      float * v) {
    (void)g, (void)random;
    if (row < 4) { /* attention sinks: nine tenths of the mass, next to no value */
        k[0] = logit_key(log(2.25 * (double)draft->n));
        for (int32_t j = 0; j < draft->d; j++)
            v[j] *= 0.02f;
    } else
        k[0] = 0;
}

/* ------------------------------------------------------------------------------------------------------------- keys */

static void equal_keys_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                           float * v) {
    (void)g, (void)row, (void)random, (void)v;
    for (int32_t j = 0; j < draft->d; j++)
        k[j] = draft->key_mean[j];
}

/* A hundred keys, each one repeated: their values differ. */
static void duplicates_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                           float * v) {
    struct random again = {(uint64_t)(row % 100) * 77 + (uint64_t)g + draft->seed};
    (void)random, (void)v;
    for (int32_t j = 0; j < draft->d; j++)
        k[j] = draft->key_mean[j] + draft->key_sd[j] * (float)random_normal(&again);
}

static void outlier_channels_shape(struct draft * draft) {
    for (int32_t j = 3; j < draft->d; j += draft->d / 3) { /* as some models have: huge mean, huge spread, little use */
        draft->key_mean[j] = 40;
        draft->key_sd[j] = 12;
        draft->q_sd[j] = 0.05f;
    }
}

/* Runs of 16 neighbours with the same heavy score, one run in 512 rows. */
static void bursts_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                       float * v) {
    (void)draft, (void)g, (void)random, (void)v;
    k[0] = logit_key(row / 16 % 32 == 7 ? 5 : 0);
}

/* One head of a group is sharp, one is flat: the rows they share serve neither well. */
static void mixed_heads_queries(struct draft * draft) {
    for (int32_t i = 0; i < draft->steps * draft->n_heads; i++) {
        const float factor = i % draft->group == 0 ? 2.0f : i % draft->group == 1 ? 0.1f : 1.0f;
        for (int32_t j = 0; j < draft->d; j++)
            draft->q[(size_t)i * (size_t)draft->d + (size_t)j] *= factor;
    }
}

static void drift_shape(struct draft * draft) {
    const int64_t least = draft->n < 64 ? draft->n : 64; /* that an index needs */
    draft->calibrate_rows = draft->n / 2 > least ? draft->n / 2 : least;
}

/* After the calibration keys get a new mean, and coordinates that had no variance get some. */
static void drift_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                      float * v) {
    const int64_t late = row - draft->calibrate_rows;
    const float share = late > 0 ? (float)late / (float)(draft->n - draft->calibrate_rows) : 0;
    (void)g, (void)v;
    for (int32_t j = draft->d / 2; j < draft->d && share > 0; j++)
        k[j] += share * (0.1f + 0.25f * (float)random_normal(random));
}

static void drift_values_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                             float * v) {
    (void)g, (void)random, (void)k;
    for (int32_t j = 0; j < draft->d && row > draft->calibrate_rows; j++)
        v[j] = 6 * v[j] - 4 * draft->v_mean[j];
}

/* ------------------------------------------------------------------------------------- keys whose codes are wrong */

/*
 * Half of the coordinates are weak: the code gives them no bits.  Their size differs from row to row, so that the
 * escape list's level is the one for far outliers, 1.75 times the root mean square.
 */
static void weak_half_shape(struct draft * draft) {
    draft->spread = 2.5;
    for (int32_t j = 0; j < draft->d; j++)
        draft->key_sd[j] = j < draft->d / 2 ? 1.0f : 0.28f;
}

static void weak_half(const struct draft * draft, struct random * random, float * k) {
    const float factor = (float)(0.2 + 1.6 * random_uniform(random));
    for (int32_t j = draft->d / 2; j < draft->d; j++)
        k[j] = draft->key_mean[j] + factor * (k[j] - draft->key_mean[j]);
}

/* What the weak half of a key adds to the score of the first head of its group, in nats. */
static double hidden_score(const struct draft * draft, int32_t g, const float * k) {
    const float * q = draft_query(draft, g * draft->group);
    double sum = 0;
    for (int32_t j = draft->d / 2; j < draft->d; j++)
        sum += (double)q[j] * (double)(k[j] - draft->key_mean[j]);
    return sum * (double)draft->scale;
}

/*
 * Turn the weak half of a key towards the query of the group's first head so that it adds `nats` to the score, but not
 * longer than `most` times the usual length of a weak half.  The strong half is moved to a score of `shown` nats.
 */
static void hide(const struct draft * draft, int32_t g, double shown, double nats, double most, float * k) {
    const float * q = draft_query(draft, g * draft->group);
    const int32_t half = draft->d / 2;
    const double usual = (double)draft->key_sd[half] * sqrt((double)(draft->d - half));
    double weak = 0, strong = 0, score = 0;
    for (int32_t j = 0; j < draft->d; j++) {
        *(j < half ? &strong : &weak) += (double)q[j] * (double)q[j];
        score += j < half ? (double)draft->scale * (double)q[j] * (double)(k[j] - draft->key_mean[j]) : 0;
    }
    const double along = fmin(nats / (double)draft->scale / sqrt(weak), most * usual) / sqrt(weak);
    const double back = (shown - score) / ((double)draft->scale * strong);
    for (int32_t j = 0; j < draft->d; j++)
        k[j] = j < half ? k[j] + (float)back * q[j] : draft->key_mean[j] + (float)along * q[j];
}

static const double INLIER = 1.5; /* a residual of this many usual lengths is on no escape list */

static bool is_needle(const struct draft * draft, int64_t row, int64_t how_many) {
    const int64_t apart = draft->n / how_many;
    return row % apart == apart / 2 + 3 && row / apart < how_many;
}

/* 16 nats where the code has no bits: the residual of such a key is far out. */
static void blind_needle_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                             float * v) {
    (void)v;
    weak_half(draft, random, k);
    if (is_needle(draft, row, 1))
        hide(draft, g, 0, 16, 1e9, k);
}

/* As many nats as a residual that is no outlier can hold, aimed at one query. */
static void aimed_needle_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                             float * v) {
    (void)v;
    weak_half(draft, random, k);
    if (is_needle(draft, row, 1))
        hide(draft, g, -4, 1e9, INLIER, k);
}

static void aimed_needles_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                              float * v) {
    (void)v;
    weak_half(draft, random, k);
    if (is_needle(draft, row, 16))
        hide(draft, g, -4, 11, INLIER, k);
}

/* One key whose proxy is e^4 times too low carries about a fifth of the variance, and few draws see it. */
static void a_fifth_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                        float * v) {
    (void)v;
    weak_half(draft, random, k);
    if (is_needle(draft, row, 1))
        hide(draft, g, 2.6, 4, INLIER, k);
}

/* One key in a thousand is e^2 to e^4 times as heavy as its code says. */
static void proxy_low_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                          float * v) {
    (void)v;
    weak_half(draft, random, k);
    if (row % 1000 == 501)
        hide(draft, g, 2, 2 + 2 * random_uniform(random), INLIER, k);
}

/* The value of a row follows what its code does not show: the ratio estimator's worst covariance. */
static void proxy_error_values_row(const struct draft * draft, int32_t g, int64_t row, struct random * random,
                                   float * k, float * v) {
    (void)row;
    weak_half(draft, random, k);
    const double hidden = hidden_score(draft, g, k);
    for (int32_t j = 0; j < draft->d; j++)
        v[j] = draft->v_mean[j] + (j % 2 == 0 ? 1.5f : -1.5f) * (float)hidden;
}

/* The queries of the step have a direction that the calibration's second moment never saw. */
static void hidden_direction(struct draft * draft, float times) {
    const size_t d = (size_t)draft->d;
    const int32_t a = draft->d - 1;
    for (int32_t i = 0; i < draft->steps * draft->n_heads; i++)
        draft->q[(size_t)i * d + (size_t)a] = times * draft->q_sd[a];
    for (size_t g = 0; g < (size_t)draft->kv_heads; g++)
        draft->moment[(g * d + (size_t)a) * d + (size_t)a] = 0;
}

static void hidden_direction_shape(struct draft * draft) {
    draft->key_sd[draft->d - 1] = 0.2f;
}

static void hidden_direction_queries(struct draft * draft) {
    hidden_direction(draft, 8); /* far out: this query is an alien */
}

static void near_alien_queries(struct draft * draft) {
    hidden_direction(draft, 3); /* the proxy is bad, but the query is no alien yet */
}

/* Keys have nothing in the unseen direction but for three of them. */
static void hidden_needles_shape(struct draft * draft) {
    draft->key_sd[draft->d - 1] = 1e-3f;
}

static void hidden_needles_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                               float * v) {
    (void)random, (void)v;
    if (is_needle(draft, row, 3)) {
        const double q = (double)draft_query(draft, g * draft->group)[draft->d - 1];
        k[draft->d - 1] += (float)(log(0.3 * (double)draft->n) / (double)draft->scale / q);
    }
}

/* ----------------------------------------------------------------------------------------------------------- values */

/* No common component: ||o|| is what the cancellation leaves. */
static void cancel_shape(struct draft * draft) {
    for (int32_t j = 0; j < draft->d; j++)
        draft->v_mean[j] = 0;
}

/* Half of the mass on the last rows, which are always read, with the opposite value of all others. */
static void cancel_window_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                              float * v) {
    const bool recent = row >= draft->n - 32;
    (void)g;
    k[0] = logit_key(recent ? log((double)draft->n / 32 * 0.9) : 0);
    for (int32_t j = 0; j < draft->d; j++)
        v[j] = (recent ? -1.0f : 1.0f) * draft->v_mean[j] + 0.3f * (float)random_normal(random);
}

static void half_window_shape(struct draft * draft) {
    draft->spread = 0.05;
    for (int32_t j = 0; j < draft->d; j++)
        draft->v_sd[j] *= 0.1f;
}

/* Two fifths of the mass on the last rows, which are always read, with the opposite value: an error in the weights of the
 * sampled rows, common to all of them, is what the output shows most. */
static void half_window_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                            float * v) {
    const bool recent = row >= draft->n - 32;
    (void)g, (void)random;
    k[0] = logit_key(recent ? log((double)draft->n / 32 * 2 / 3) : 0);
    for (int32_t j = 0; j < draft->d && recent; j++)
        v[j] = -draft->v_mean[j];
}

static void small_output_shape(struct draft * draft) {
    for (int32_t j = 0; j < draft->d; j++)
        draft->v_mean[j] *= 0.15f;
}

static void giant_value_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                            float * v) {
    (void)g, (void)random, (void)k;
    for (int32_t j = 0; j < draft->d && is_needle(draft, row, 1); j++)
        v[j] *= 1000;
}

/* One row in 500 has a value a hundred times as long and a weight e^-4 of the others'. */
static void giant_values_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                             float * v) {
    (void)g, (void)random;
    k[0] = logit_key(row % 500 == 123 ? -4 : 0);
    for (int32_t j = 0; j < draft->d && row % 500 == 123; j++)
        v[j] *= 100;
}

/* All values on one line: one degree of freedom. */
static void one_line_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                         float * v) {
    const float z = (float)random_normal(random);
    (void)g, (void)row, (void)k;
    for (int32_t j = 0; j < draft->d; j++)
        v[j] = draft->v_mean[j] + (j % 2 == 0 ? z : -z);
}

/* The same, and far from symmetric: rare rows carry the variance. */
static void one_line_skewed_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                                float * v) {
    const float z = (float)(exp(1.6 * random_normal(random)) - exp(0.5 * 1.6 * 1.6)) / 4;
    (void)g, (void)row, (void)k;
    for (int32_t j = 0; j < draft->d; j++)
        v[j] = draft->v_mean[j] + (j % 2 == 0 ? z : -z);
}

/* Values of one in 200 rows lie far away on one side, the others do not vary. */
static void rare_values_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                            float * v) {
    const bool rare = random_uniform(random) < 0.005;
    (void)g, (void)row, (void)k;
    for (int32_t j = 0; j < draft->d; j++)
        v[j] = draft->v_mean[j] + (rare && j % 2 == 0 ? 6.0f : 0.0f);
}

/* The sign of the value follows the score of the group's first head. */
static void score_values_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                             float * v) {
    const float * q = draft_query(draft, g * draft->group);
    double score = 0;
    (void)row, (void)random;
    for (int32_t j = 0; j < draft->d; j++)
        score += (double)draft->scale * (double)q[j] * (double)(k[j] - draft->key_mean[j]);
    for (int32_t j = 0; j < draft->d; j++)
        v[j] = draft->v_mean[j] + (score > 2 * draft->spread ? 2.0f : -1.0f) * (j % 2 == 0 ? 1.0f : -1.0f);
}

/* The output is far from the mean value: a few heavy rows hold it, and all others have the mean value. */
static void far_output_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                           float * v) {
    const bool heavy = row % 64 == 5;
    (void)g;
    k[0] = logit_key(heavy ? 4.5 : 0);
    for (int32_t j = 0; j < draft->d; j++)
        v[j] = draft->v_mean[j] + (heavy ? 10.0f * (j % 3 == 0 ? 1.0f : 0.0f) : 0.01f * (float)random_normal(random));
}

static void equal_values_row(const struct draft * draft, int32_t g, int64_t row, struct random * random, float * k,
                             float * v) {
    (void)g, (void)row, (void)random, (void)k;
    memcpy(v, draft->v_mean, (size_t)draft->d * sizeof *v);
}

/* ------------------------------------------------------------------------------------------------------------ sizes */

static void tiny_shape(struct draft * draft) {
    static const int32_t sizes[] = {2, 3, 17, 36, 37, 64, 65, 130, 300, 1023, 1024, 2000};
    draft->steps = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] <= draft->n)
            draft->visible[draft->steps++] = sizes[i];
}

/* Rows: name, what, then what differs from the usual layer. */
const struct generator generator_table[] = {
    {.name = "plain", .what = "normal scores with a spread of 2 nats, decaying covariance"},
    {.name = "flat", .what = "spread .3: every key matters a little", .shape = flat_shape},
    {.name = "sharp", .what = "spread 5: a few keys hold everything", .shape = sharp_shape},
    {.name = "lognormal",
     .what = "log-normal logits",
     .shape = quiet_shape,
     .queries = logit_queries,
     .row = lognormal_row},
    {.name = "cauchy",
     .what = "Cauchy logits, cut at 12 nats",
     .shape = quiet_shape,
     .queries = logit_queries,
     .row = cauchy_row},
    {.name = "pareto",
     .what = "weights with a Pareto tail of index 1",
     .shape = quiet_shape,
     .queries = logit_queries,
     .row = pareto_row},
    {.name = "sinks",
     .what = "nine tenths of the mass on four sinks without value",
     .shape = quiet_shape,
     .queries = logit_queries,
     .row = sinks_row},
    {.name = "bursts",
     .what = "runs of 16 neighbouring heavy keys",
     .shape = quiet_shape,
     .queries = logit_queries,
     .row = bursts_row},
    {.name = "mixed-heads",
     .what = "a sharp, a flat and a usual head share their rows",
     .queries = mixed_heads_queries},
    {.name = "equal-keys", .what = "all keys equal", .row = equal_keys_row},
    {.name = "duplicates", .what = "a hundred keys, repeated", .row = duplicates_row},
    {.name = "outlier-channels", .what = "three channels with huge mean and variance", .shape = outlier_channels_shape},
    {.name = "drift-keys",
     .what = "keys drift after the calibration on the first half",
     .shape = drift_shape,
     .row = drift_row},
    {.name = "drift-values",
     .what = "values drift after the calibration",
     .shape = drift_shape,
     .row = drift_values_row},
    {.name = "blind-needle",
     .what = "one key of 16 nats in coordinates without bits",
     .shape = weak_half_shape,
     .row = blind_needle_row},
    {.name = "aimed-needle",
     .what = "one key with a residual that is no outlier but points exactly at the query",
     .usual = {.head_dim = 256},
     .shape = weak_half_shape,
     .row = aimed_needle_row,
     .note = GENERATOR_OUTSIDE},
    {.name = "aimed-needles",
     .what = "16 keys of 11 hidden nats each, no outliers",
     .usual = {.head_dim = 256},
     .shape = weak_half_shape,
     .row = aimed_needles_row,
     .note = GENERATOR_OUTSIDE},
    {.name = "a-fifth",
     .what = "one token with about a fifth of the variance and a proxy e^4 too low",
     .usual = {.head_dim = 256},
     .shape = weak_half_shape,
     .row = a_fifth_row},
    {.name = "proxy-low",
     .what = "one key in a thousand weighs e^2 to e^4 times what its code says",
     .usual = {.head_dim = 256},
     .shape = weak_half_shape,
     .row = proxy_low_row},
    {.name = "proxy-error-values",
     .what = "values follow the error of the proxy",
     .shape = weak_half_shape,
     .row = proxy_error_values_row},
    {.name = "hidden-direction",
     .what = "queries point where the calibration's second moment has nothing",
     .shape = hidden_direction_shape,
     .queries = hidden_direction_queries},
    {.name = "near-alien",
     .what = "the same, weaker: below the level of the guard for queries",
     .shape = hidden_direction_shape,
     .queries = near_alien_queries},
    {.name = "hidden-needles",
     .what = "three needles in a direction that neither queries nor keys of the calibration have",
     .shape = hidden_needles_shape,
     .queries = hidden_direction_queries,
     .row = hidden_needles_row},
    {.name = "cancel",
     .what = "values without a common part: ||o|| is what cancellation leaves",
     .shape = cancel_shape},
    {.name = "cancel-window",
     .what = "rows that are always read cancel all the others",
     .shape = quiet_shape,
     .queries = logit_queries,
     .row = cancel_window_row},
    {.name = "half-window",
     .what = "rows that are always read hold two fifths of the mass and the opposite value",
     .usual = {.keys = 32768, .kv_heads = 1},
     .shape = half_window_shape,
     .queries = logit_queries,
     .row = half_window_row},
    {.name = "small-output", .what = "a common part a seventh of the values' spread", .shape = small_output_shape},
    {.name = "giant-value", .what = "one value a thousand times as long", .row = giant_value_row},
    {.name = "giant-values",
     .what = "one value in 500 a hundred times as long, with a small weight",
     .shape = quiet_shape,
     .queries = logit_queries,
     .row = giant_values_row},
    {.name = "one-line", .what = "values on one line: one degree of freedom", .row = one_line_row},
    {.name = "one-line-skewed", .what = "values on one line, log-normal", .row = one_line_skewed_row},
    {.name = "rare-values", .what = "one value in 200 lies far away, the others are equal", .row = rare_values_row},
    {.name = "score-values", .what = "values jump with the score", .row = score_values_row},
    {.name = "far-output",
     .what = "heavy rows hold an output far from the mean value that all others have",
     .shape = quiet_shape,
     .queries = logit_queries,
     .row = far_output_row},
    {.name = "equal-values", .what = "all values equal", .row = equal_values_row},
    {.name = "tiny", .what = "steps that see 2 to 2000 keys", .usual = {.keys = 2000}, .shape = tiny_shape},
    {.name = "million",
     .what = "2^20 keys, two heads on one KV head",
     .usual = {.keys = 1 << 20, .group = 2, .kv_heads = 1},
     .note = GENERATOR_LONG},
};
const int generator_count = (int)(sizeof generator_table / sizeof *generator_table);
