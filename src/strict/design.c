/* SPDX-License-Identifier: MIT
 *
 * DESIGN: thresholds of one KV head for the coming look.
 *
 *     pilot     share_t so that the proxies expect PILOT draws a head; no floor
 *     later     lambda from the error that is allowed, the floor from lambda, and share_t so that the prices that the last
 *               look's tail rows predict leave room under  level + C <= lambda D^ beta
 *
 * A tail row of the last look stands for (1 - pi)/pi rows that were not read.  All heads of the group profit from all rows,
 * so the thresholds are solved jointly.
 */
#include "strict/strict.h"

#include <math.h>
#include <string.h>

#define PILOT          200.0 /* draws that the proxies expect for one head */
#define GAIN           1.8   /* lambda = GAIN * level / (allowed error): 2 were best without a floor */
#define SHORT          0.06  /* share of the allowed error that may be lost because o^ and D^ of the pilot are off */
#define RESERVE        0.12  /* share of the prices' budget that is kept for their fluctuation */
#define CRUDE          0.05  /* share of alpha that the crude bound may spend */
#define WITHIN_SPREAD  2.0   /* o may be this many standard errors of the center, */
#define WITHIN_ALLOWED 3.5   /* and this many allowed errors, away from it */
#define SETTLED        0.03  /* a move of all thresholds, in octaves, after which another one changes nothing */
#define STEPS          14
#define FAR            1e30F
#define SAMPLE         VATTN_STRICT_SAMPLE

static void pilot(struct vattn_call * c, int32_t g) {
    struct vattn_strict * s = c->strict;
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        double top = -INFINITY, sum = 0.0;
        const float * part = s->log2_sum + (size_t)h * (size_t)s->n_chunks;
        for (int32_t k = 0; k < s->n_chunks; k++) {
            top = (double)part[k] > top ? (double)part[k] : top; /* gcc 12 for AArch64 breaks down over fmax here */
        }
        for (int32_t k = 0; k < s->n_chunks && top > -INFINITY; k++) {
            sum += exp2((double)part[k] - top);
        }
        s->heads[h].floor_t = INFINITY;
        s->heads[h].share_t = top > -INFINITY ? (float)(top + log2(sum / PILOT)) : 0.0F;
    }
}

/* ---------------------------------------------------------------------------------------------- tail of the last look */

/* What the design knows about a KV head: sampled tail rows, for every head log2 units plus V_i. */
struct tail {
    int32_t n, group;
    float * omega; /* rows that this row stands for */
    float * floor; /* log2 of the floor of its key's pi */
    float * proxy; /* [group][SAMPLE] */
    float * exact; /* [group][SAMPLE] */
    float * pull;  /* [group][SAMPLE] lambda D^ times its pull */
};

static struct tail tail_memory(const struct vattn_call * c, int32_t g) {
    int32_t group = c->plan->group;
    float * at = c->strict->sample + (size_t)g * (size_t)(3 * group + 2) * SAMPLE;
    return (struct tail){.group = group,
                         .omega = at,
                         .floor = at + SAMPLE,
                         .proxy = at + 2 * SAMPLE,
                         .exact = at + (size_t)(2 + group) * SAMPLE,
                         .pull = at + (size_t)(2 + 2 * group) * SAMPLE};
}

static void add_row(const struct vattn_call * c, int32_t g, struct tail * t, int32_t row, int32_t prob, size_t at,
                    float stride) {
    const struct vattn_strict * s = c->strict;
    const struct vattn_strict_tables * table = &s->tables[g];
    const uint8_t * reach = vattn_index_reach(c->in.index, g, row);
    float value = table->log2_value[reach[2]], p = (float)prob * (1.0F / VATTN_PROB_ONE), floor = -FAR;
    bool escaped = vattn_bit(vattn_index_escape(c->in.index, g), row);
    for (int32_t i = 0; i < t->group; i++) {
        int32_t h = g * t->group + i;
        const struct vattn_strict_head * head = &s->heads[h];
        if (head->passed) {
            continue;
        }
        float proxy = s->scores[(size_t)h * (size_t)s->ld + (size_t)row] + value;
        float share = s->weights[(size_t)h * (size_t)s->ld + at];
        float up = fminf(head->bound.residual * table->reach.residual[reach[0]],
                         head->bound.unlikely * table->reach.unlikely[reach[1]]);
        floor = fmaxf(floor, proxy + (escaped ? 0.0F : up) + head->bound.slack - head->floor_t);
        t->proxy[i * SAMPLE + t->n] = proxy;
        t->exact[i * SAMPLE + t->n] = log2f(share) + (float)head->log2_d + value;
        t->pull[i * SAMPLE + t->n] =
            (float)exp2(head->log2_lambda + head->log2_d) * s->pull[(size_t)h * (size_t)s->ld + at];
    }
    t->omega[t->n] = stride * (1.0F - p) / p;
    t->floor[t->n++] = floor;
}

static struct tail take_tail(const struct vattn_call * c, int32_t g) {
    const struct vattn_strict * s = c->strict;
    struct tail t = tail_memory(c, g);
    int64_t n = 0, seen = 0;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        n += vattn_strict_chunk(s, g, k)->n_tail;
    }
    int64_t stride = (n + SAMPLE - 1) / SAMPLE;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        size_t list = vattn_strict_list(s, g, k), begin = (size_t)vattn_strict_begin_row(s, k);
        for (int32_t j = 0; j < vattn_strict_chunk(s, g, k)->n_tail; j++) {
            if (seen++ % stride == 0) {
                add_row(c, g, &t, s->rows[list + (size_t)j], s->prob[list + (size_t)j], begin + (size_t)j,
                        (float)stride);
            }
        }
    }
    return t;
}

/* ----------------------------------------------------------------------------------------------------------- solve */

static float clamp_exp2(float x) {
    return exp2f(fminf(0.0F, fmaxf(-10.0F, x)));
}

/* pi of a row under the current thresholds. */
static float row_probability(const struct vattn_call * c, int32_t g, const struct tail * t, int32_t j) {
    float key = t->floor[j], value = -FAR;
    for (int32_t i = 0; i < t->group; i++) {
        const struct vattn_strict_head * head = &c->strict->heads[g * t->group + i];
        if (!head->passed) {
            key = fmaxf(key, t->proxy[i * SAMPLE + j] - head->share_t);
            value = fmaxf(value, t->exact[i * SAMPLE + j] - fminf(head->floor_t, head->share_t));
        }
    }
    float p = clamp_exp2(key);
    return fminf(p, fmaxf(p * 0.0625F, exp2f(fminf(0.0F, value))));
}

/* pi c(z, pi), near enough for a design. */
static float expected_price(float z, float p) {
    float ratio = fminf(z / p, 0.9F);
    return 0.5F * (1.0F - p) * z * ratio / (1.0F - 0.67F * ratio);
}

/* Predicted prices of all heads; returns the rows that would be read. */
static double predict(struct vattn_call * c, int32_t g, const struct tail * t) {
    struct vattn_strict_head * heads = c->strict->heads + (size_t)g * (size_t)t->group;
    double rows = 0.0;
    for (int32_t i = 0; i < t->group; i++) {
        heads[i].predicted = 0.0;
    }
    for (int32_t j = 0; j < t->n; j++) {
        float p = row_probability(c, g, t, j);
        rows += (double)(t->omega[j] * p);
        for (int32_t i = 0; i < t->group; i++) {
            if (!heads[i].passed) {
                heads[i].predicted += (double)(t->omega[j] * expected_price(t->pull[i * SAMPLE + j], p));
            }
        }
    }
    return rows;
}

static double solve(struct vattn_call * c, int32_t g, const struct tail * t) {
    double rows = 0.0;
    bool settled = false;
    for (int step = 0; step <= STEPS; step++) {
        rows = predict(c, g, t);
        step = settled && step < STEPS - 1 ? STEPS - 1 : step;
        settled = true;
        for (int32_t i = 0; i < t->group && step < STEPS; i++) {
            struct vattn_strict_head * head = &c->strict->heads[g * t->group + i];
            if (head->passed) {
                continue;
            }
            double goal = (GAIN - 1.0) * head->level * (1.0 - RESERVE);
            double move = log2(goal / fmax(head->predicted, 1e-9 * goal)), most = step < 4 ? 3.0 : 1.0;
            move = fmin(most, fmax(-most, move)) * 0.9;
            move = step == STEPS - 1 ? fmin(move, 0.0) : move; /* the last move only repairs */
            settled = settled && fabs(move) < SETTLED;
            head->share_t = fminf(head->share_t + (float)move, head->floor_t + 12.0F);
        }
    }
    return rows;
}

/* ----------------------------------------------------------------------------------------------------------- looks */

/* Center, lambda and levels of every open head, and one reach of values about all their centers. */
static void fix_lambda(struct vattn_call * c, int32_t g) {
    struct vattn_strict * s = c->strict;
    double farthest = 0.0;
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        struct vattn_strict_head * head = &s->heads[h];
        size_t at = (size_t)h * (size_t)c->plan->opt.v_dim;
        if (head->passed) {
            continue;
        }
        double allowed = c->plan->x * head->norm, alpha = vattn_strict_alpha(c->plan, s->groups[g].looks);
        memcpy(s->centers + at, s->estimates + at, (size_t)c->plan->opt.v_dim * sizeof(float));
        head->within = WITHIN_SPREAD * sqrt(head->v) + WITHIN_ALLOWED * allowed;
        head->level = log(2.0 / ((1.0 - CRUDE) * alpha));
        head->crude_level = log(2.0 / (CRUDE * alpha));
        head->log2_lambda = log2(GAIN * head->level / ((1.0 - SHORT) * allowed)) - head->log2_d;
        head->floor_t = (float)(log2(VATTN_STRICT_THETA) - head->log2_lambda);
        head->share_t = head->floor_t - 1.5F;
        farthest = fmax(farthest, head->from_mean + head->within);
    }
    for (int i = 0; i < 256; i++) {
        s->tables[g].log2_value[i] = log2f(s->tables[g].reach.value[i] + (float)(farthest * 1.0001)) + 1e-5F;
    }
}

static bool hopeless(const struct vattn_call * c, int32_t g) {
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        const struct vattn_strict_head * head = &c->strict->heads[h];
        if (!head->passed && !(isfinite(head->log2_lambda) && isfinite(head->within) && head->norm > 0.0)) {
            return true;
        }
    }
    return false;
}

void vattn_strict_design(struct vattn_call * c, int32_t g) {
    struct vattn_strict * s = c->strict;
    struct vattn_strict_group * group = &s->groups[g];
    if (group->looks == 0) {
        pilot(c, g);
        return;
    }
    fix_lambda(c, g);
    if (hopeless(c, g)) {
        group->state = VATTN_STRICT_EXACT;
        return;
    }
    struct tail t = take_tail(c, g);
    double rows = solve(c, g, &t);
    if ((double)group->rows_read + rows > c->plan->opt.max_rows * (double)c->n_visible) {
        group->state = VATTN_STRICT_EXACT;
    }
}
