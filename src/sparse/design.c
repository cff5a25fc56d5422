/* SPDX-License-Identifier: MIT
 *
 * DESIGN: thresholds t_h of one KV head from a subsample of its proxy scores.
 *
 *     pi_i = min(1, max_h 2^(s_hi - t_h))        R_h(t) = sum_{s < t} 2^(s - t)   tail draws that head h asks for
 *     P_h  = sum_{pi < 1} (1/pi_i - 1) w_hi^2    variance of head h up to a factor that a look measures
 *
 * First look: R_h = what the controller learned, or a pilot.  Later: lower the thresholds of the heads that failed until
 * P_h has fallen by the factor that the look asked for; all heads profit from all rows, so this is solved jointly.
 * The design may see proxies and earlier looks, never the draws of rows that it has not paid for.
 */
#include "sparse/sparse.h"

#include <math.h>
#include <string.h>

#include "call/state.h"

#define PILOT_DRAWS 40.0F
#define LEAST_DRAWS 30.0F
#define OVERSHOOT   1.15F

/* The piecewise linear 2^x of the selection, x in [-10, 0]. */
static inline float pw_exp2(float x) {
    union {
        int32_t i;
        float f;
    } u;
    x = x < -10.0F ? -10.0F : x > 0.0F ? 0.0F : x;
    u.i = (int32_t)(x * 8388608.0F + 1065353216.0F);
    return u.f;
}

static void take_sample(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group, n = 0;
    int64_t blocks = s->ld / VATTN_BLOCK, want = (s->sample_ld - 64) / VATTN_BLOCK;
    int64_t stride = (blocks + want - 1) / want, eligible = 0;
    for (int64_t b = 0; b < blocks; b++) {
        uint32_t free = s->visible[b] & ~(uint32_t)s->sure[b];
        eligible += __builtin_popcount(free);
        if (b % stride != 0) {
            continue;
        }
        for (; free != 0; free &= free - 1) {
            int64_t row = b * VATTN_BLOCK + __builtin_ctz(free);
            for (int32_t i = 0; i < group; i++) {
                size_t head = (size_t)(g * group + i);
                s->sample[head * (size_t)s->sample_ld + (size_t)n] = s->scores[head * (size_t)s->ld + (size_t)row];
            }
            n++;
        }
    }
    s->sample_n[g] = n;
    s->sample_scale[g] = n > 0 ? (float)eligible / (float)n : 1.0F;
}

static void weigh_sample(struct vattn_call * c, int32_t head, int32_t n) {
    struct vattn_sparse * s = c->sparse;
    const float * x = s->sample + (size_t)head * (size_t)s->sample_ld;
    float * w2 = s->sample_w2 + (size_t)head * (size_t)s->sample_ld;
    float m = c->plan->kern->max(x, n);
    s->heads[head].reference = m;
    for (int32_t i = 0; i < n; i++) {
        w2[i] = 2.0F * (x[i] - m);
    }
    (void)c->plan->kern->exp2_sum(w2, n, 0.0F);
}

/* Tail draws per row of the subsample that threshold t gives. */
static float draws(const float * x, int32_t n, float t) {
    float sum = 0.0F;
    for (int32_t i = 0; i < n; i++) {
        float d = x[i] - t;
        sum += d < 0.0F ? pw_exp2(d) : 0.0F;
    }
    return sum;
}

/* The threshold that gives `want` tail draws; as low as useful where the head has not that many rows. */
static float solve_draws(const struct vattn_call * c, int32_t head, int32_t n, float scale, float want) {
    const struct vattn_sparse * s = c->sparse;
    const float * x = s->sample + (size_t)head * (size_t)s->sample_ld;
    float high = s->heads[head].reference + 10.0F, low = s->heads[head].reference - 40.0F;
    /* draws rise while t falls from far above the scores; past their peak rows turn certain and draws fall again */
    float t = high, best = high, most = 0.0F;
    for (; t > low; t -= 1.0F) {
        float d = scale * draws(x, n, t);
        if (d > most) {
            most = d;
            best = t;
        }
        if (d >= want) {
            break;
        }
    }
    if (t <= low) {
        return best;
    }
    float a = t, b = t + 1.0F;
    for (int i = 0; i < 5; i++) {
        float mid = 0.5F * (a + b);
        if (scale * draws(x, n, mid) >= want) {
            a = mid;
        } else {
            b = mid;
        }
    }
    return a;
}

/* P_h of all heads of the group for the current thresholds. */
static void predict(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group, n = s->sample_n[g], head = g * group;
    for (int32_t i = 0; i < group; i++) {
        s->heads[head + i].predicted = 0.0F;
    }
    for (int32_t at = 0; at < n; at += 256) {
        float x[256];
        int32_t m = n - at < 256 ? n - at : 256;
        for (int32_t j = 0; j < m; j++) {
            x[j] = -10.0F;
        }
        for (int32_t i = 0; i < group; i++) {
            const float * score = s->sample + (size_t)(head + i) * (size_t)s->sample_ld + at;
            float t = s->thresholds[head + i];
            for (int32_t j = 0; j < m; j++) {
                float d = score[j] - t;
                x[j] = d > x[j] ? d : x[j];
            }
        }
        for (int32_t j = 0; j < m; j++) {
            x[j] = 1.0F / pw_exp2(x[j]) - 1.0F;
        }
        for (int32_t i = 0; i < group; i++) {
            const float * w2 = s->sample_w2 + (size_t)(head + i) * (size_t)s->sample_ld + at;
            float sum[8] = {0};
            for (int32_t j = 0; j < m; j++) {
                sum[j & 7] += x[j] * w2[j];
            }
            s->heads[head + i].predicted +=
                ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
        }
    }
}

static void first_look(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group;
    take_sample(c, g);
    for (int32_t h = g * group; h < (g + 1) * group; h++) {
        float want = PILOT_DRAWS;
        if (c->in.state != NULL && c->in.state->steps > 0) {
            want = exp2f(c->in.state->log2_draws[h]);
        }
        want = want < LEAST_DRAWS ? LEAST_DRAWS : want;
        weigh_sample(c, h, s->sample_n[g]);
        s->thresholds[h] = solve_draws(c, h, s->sample_n[g], s->sample_scale[g], want);
    }
}

static void next_look(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group, head = g * group;
    float * goal = s->goals + head;
    predict(c, g);
    for (int32_t i = 0; i < group; i++) {
        const struct vattn_head * h = &s->heads[head + i];
        goal[i] = h->need > 1.0 ? h->predicted / (float)(h->need * OVERSHOOT) : INFINITY;
    }
    for (int step = 0; step < 8; step++) {
        for (int32_t i = 0; i < group; i++) {
            float over = s->heads[head + i].predicted / goal[i];
            if (over > 1.0F) {
                float fall = log2f(over);
                s->thresholds[head + i] -= fall < 2.0F ? fall : 2.0F;
            }
        }
        predict(c, g);
    }
    for (int32_t i = 0; i < group; i++) { /* where the subsample has no tail left to predict with: simply lower */
        if (s->heads[head + i].need > 1.0 && !(s->heads[head + i].predicted > 0.0F)) {
            s->thresholds[head + i] -= 1.0F;
        }
    }
}

void vattn_sparse_design(struct vattn_call * c, int32_t g) {
    struct vattn_group * group = &c->sparse->groups[g];
    if (group->state != VATTN_GROUP_OPEN) {
        return;
    }
    if (group->looks == 0) {
        first_look(c, g);
    } else {
        next_look(c, g);
    }
}

/* Draws needed scale with the variance to be removed: R * need would have been enough. */
void vattn_sparse_learn(struct vattn_call * c, int32_t g) {
    const struct vattn_sparse * s = c->sparse;
    struct vattn_state * state = c->in.state;
    if (state == NULL) {
        return;
    }
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        const float * x = s->sample + (size_t)h * (size_t)s->sample_ld;
        float r = s->sample_scale[g] * draws(x, s->sample_n[g], s->thresholds[h]);
        float need = log2f(fmaxf(r, 1.0F) * (float)fmax(s->heads[h].need, 0.05)) + 0.15F;
        need = fmaxf(need, log2f(LEAST_DRAWS));
        float old = state->log2_draws[h];
        state->log2_draws[h] = state->steps <= 1 ? need : 0.7F * old + 0.3F * need;
    }
}
