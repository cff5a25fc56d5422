/* SPDX-License-Identifier: MIT
 *
 * DESIGN: thresholds t_h of one KV head from a subsample of its proxy scores (P = score + value bonus, log2 units).
 *
 *     pi_i    = clamp(2^(max_h(P_hi - t_h)))          w_i = 1/pi_i - 1
 *     V_h     = sum w_i 2^(2 P_hi)                    predicted variance, up to a factor F_h
 *     draws_h = (sum w z)^2 / sum w^3 z^2, z = 2^(2P) predicted effective draws
 *
 * All heads profit from all rows that any head asks for, so the thresholds are solved jointly: each t_h moves by what
 * its V_h (and draws_h) are off, all at once, a few times.  F_h is what the controller learned, or a prior from the
 * code's expected error.  Later looks lower V_h by the factor that the judge asked for.
 * The design may see proxies and the verdicts of earlier looks, nothing else of the sample.
 */
#include "sparse/sparse.h"

#include <math.h>
#include <string.h>

#include "call/state.h"

#define LN2         0.6931472F
#define SURE_ROWS   256
#define FIRST_DRAWS 20.0F   /* effective draws that the first look is designed for */
#define PRIOR_F     (-0.415F) /* log2 of the usual mean |v - c|^2 / |o|^2 */
#define KEY_MARGIN  0.5F    /* keys are read this many octaves below t, plus the proxy's expected error */
#define KEY_MOST    6.0F
#define FLOOR       0x1p-10F
#define FAR         1e30F

/* ------------------------------------------------------------------------------------------------------- subsample */

static bool eligible(const struct vattn_sparse * s, int64_t row) {
    return ((unsigned)(s->visible[row / 16] & ~s->sure[row / 16]) >> (row % 16) & 1U) != 0;
}

static void take_sample(struct vattn_call * c, int32_t g, float * plain) {
    struct vattn_sparse * s = c->sparse;
    const int8_t * bonus = vattn_sparse_bonus(c, g, 0);
    int32_t group = c->plan->group, n = 0;
    int64_t rows = c->in.kv->n_keys, want = s->sample_ld - 64, stride = (rows + want - 1) / want;
    for (int64_t row = stride / 2; row < rows; row += stride) {
        if (!eligible(s, row)) {
            continue;
        }
        for (int32_t i = 0; i < group; i++) {
            size_t head = (size_t)(g * group + i);
            float score = s->scores[head * (size_t)s->ld + (size_t)row];
            plain[(size_t)i * (size_t)s->sample_ld + (size_t)n] = score;
            s->sample[head * (size_t)s->sample_ld + (size_t)n] = score + 0.125F * (float)bonus[row];
        }
        n++;
    }
    for (; n % 8 != 0; n++) { /* padding: read for sure, no weight */
        for (int32_t i = 0; i < group; i++) {
            plain[(size_t)i * (size_t)s->sample_ld + (size_t)n] = -INFINITY;
            s->sample[(size_t)(g * group + i) * (size_t)s->sample_ld + (size_t)n] = INFINITY;
        }
    }
    s->sample_n[g] = n;
    s->sample_scale[g] = (float)stride;
}

/* log2(2^a + 2^b) */
static float log2_add(float a, float b) {
    float m = fmaxf(a, b);
    return m == -INFINITY ? m : m + log2f(exp2f(a - m) + exp2f(b - m));
}

/* log2 of the sum of weights of the rows that are read for sure: few, and read anyway. */
static void sum_sure(const struct vattn_call * c, int32_t g, float * log2_sum) {
    const struct vattn_sparse * s = c->sparse;
    int32_t list[SURE_ROWS], group = c->plan->group, n = 0;
    float score[16 * SURE_ROWS];
    for (int64_t b = 0; b < s->ld / 16 && n < SURE_ROWS; b++) {
        for (uint32_t bits = (uint32_t)(s->visible[b] & s->sure[b]); bits != 0 && n < SURE_ROWS; bits &= bits - 1) {
            list[n++] = (int32_t)(b * 16 + __builtin_ctz(bits));
        }
    }
    struct vattn_rows k = vattn_k_rows(c->in.kv, g);
    k.index = list;
    k.n = n;
    for (int32_t i = 0; i < group; i += 16) {
        int32_t part = group - i < 16 ? group - i : 16;
        vattn_plan_score(c->plan, &k, vattn_call_q(c, g) + (size_t)i * (size_t)c->plan->opt.head_dim, part, score, SURE_ROWS);
        for (int32_t h = 0; h < part; h++) {
            float m = c->plan->kern->max(score + h * SURE_ROWS, n);
            log2_sum[i + h] = n == 0 ? -INFINITY : m + log2f(c->plan->kern->exp2_sum(score + h * SURE_ROWS, n, m));
        }
    }
}

/* log2 D as the proxies predict it: sure rows + subsample, but never less than the largest score of all. */
static void predict_sums(struct vattn_call * c, int32_t g, float * plain) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group, n = s->sample_n[g];
    for (int32_t i = 0; i < group; i++) {
        struct vattn_head * head = &s->heads[g * group + i];
        float * x = plain + (size_t)i * (size_t)s->sample_ld;
        float m = c->plan->kern->max(x, n), tail = -INFINITY, top = -INFINITY;
        if (n > 0) {
            tail = m + log2f(c->plan->kern->exp2_sum(x, n, m) * s->sample_scale[g]);
        }
        for (int32_t k = 0; k < s->n_chunks; k++) {
            top = fmaxf(top, s->chunk_max[(size_t)(g * group + i) * (size_t)s->n_chunks + (size_t)k]);
        }
        float spread = 0.5F * LN2 * head->sigma * head->sigma; /* E 2^error of a normal error */
        head->log2_sum = log2_add(s->sure_sum[g * group + i], fmaxf(tail, top) + spread);
    }
}

/* --------------------------------------------------------------------------------------------------------- predict */

/* Weights of the subsample relative to the current thresholds. */
static void weigh_sample(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t n = s->sample_n[g];
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        const float * x = s->sample + (size_t)h * (size_t)s->sample_ld;
        float * w2 = s->sample_w2 + (size_t)h * (size_t)s->sample_ld, t = s->thresholds[h];
        for (int32_t j = 0; j < n; j++) {
            float z = 2.0F * (x[j] - t);
            w2[j] = z > 60.0F ? -INFINITY : z; /* read for sure: no variance */
        }
        (void)c->plan->kern->exp2_sum(w2, n, 0.0F);
        s->heads[h].origin = t;
    }
}

static void predict(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group, head = g * group;
    float *v = s->design_sums + 2 * head, *q = v + group;
    size_t at = (size_t)head * (size_t)s->sample_ld;
    c->plan->kern->design(s->sample + at, s->sample_w2 + at, (ptrdiff_t)s->sample_ld, s->thresholds + head, group,
                          s->sample_n[g], FLOOR, v, q);
    for (int32_t i = 0; i < group; i++) {
        struct vattn_head * h = &s->heads[head + i];
        h->draws = q[i] > 0.0F ? v[i] * v[i] * s->sample_scale[g] / q[i] : FAR;
        h->predicted = v[i] > 0.0F ? log2f(v[i] * s->sample_scale[g]) + 2.0F * h->origin : -FAR;
    }
}

/* ----------------------------------------------------------------------------------------------------------- solve */

/* How far t may rise (> 0) or must fall for the goals of a head. */
static float slack(const struct vattn_head * h) {
    float d = h->goal - h->predicted;
    return h->least > 0.0F ? fminf(d, log2f(fmaxf(h->draws, 1e-6F) / h->least)) : d;
}

static void solve(struct vattn_call * c, int32_t g, int steps) {
    struct vattn_sparse * s = c->sparse;
    int32_t head = g * c->plan->group;
    weigh_sample(c, g);
    for (int step = 0; step <= steps; step++) {
        float limit = step < 3 ? 8.0F : step < 6 ? 2.0F : 0.7F;
        bool moved = false;
        predict(c, g);
        for (int32_t h = head; h < head + c->plan->group; h++) {
            float d = slack(&s->heads[h]), old = s->thresholds[h];
            if (step == steps) { /* the last move only repairs what is still short */
                d = d > 0.0F ? 0.0F : fmaxf(d, -3.0F);
            } else {
                d = 0.9F * fminf(limit, fmaxf(-limit, d));
            }
            s->thresholds[h] = fminf(old + d, s->heads[h].cap);
            moved = moved || fabsf(s->thresholds[h] - old) > 0.1F;
        }
        if (!moved) {
            break;
        }
    }
}

static void set_key_thresholds(struct vattn_call * c, int32_t g, bool first) {
    struct vattn_sparse * s = c->sparse;
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        float margin = fminf(KEY_MARGIN + s->heads[h].sigma, KEY_MOST);
        float tk = fminf(s->thresholds[h] - margin, s->heads[h].key_cap);
        s->key_thresholds[h] = first ? tk : fminf(tk, s->key_thresholds[h]);
    }
}

/* ----------------------------------------------------------------------------------------------------------- looks */

/* Padding is +inf and does not count. */
static float sample_max(const float * x, int32_t n) {
    float m = -INFINITY;
    for (int32_t j = 0; j < n; j++) {
        m = x[j] > m && x[j] < INFINITY ? x[j] : m;
    }
    return m;
}

static void first_look(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_state * state = c->in.state;
    int32_t group = c->plan->group;
    float * plain = s->sample_w2 + (size_t)(g * group) * (size_t)s->sample_ld; /* until solve() weighs the sample */
    take_sample(c, g, plain);
    sum_sure(c, g, s->sure_sum + g * group);
    predict_sums(c, g, plain);
    float c0 = (float)log2(vattn_quantile_f(&c->plan->quantile, 7.0, 2.0 * (double)FIRST_DRAWS));
    for (int32_t h = g * group; h < (g + 1) * group; h++) {
        struct vattn_head * head = &s->heads[h];
        bool learned = state != NULL && state->heads[h].steps > 0;
        float factor = learned ? state->heads[h].log2_factor : PRIOR_F + LN2 * head->sigma * head->sigma;
        const float * x = s->sample + (size_t)h * (size_t)s->sample_ld;
        head->goal = 2.0F * (log2f((float)c->plan->x) + head->log2_sum) - c0 - factor;
        head->goal += c->plan->opt.scope == VATTN_SCOPE_LAYER ? 1.0F : 0.0F;
        head->least = FIRST_DRAWS;
        head->cap = learned ? state->heads[h].cap + head->log2_sum : FAR;
        head->key_cap = learned ? state->heads[h].key_cap + head->log2_sum : FAR;
        s->thresholds[h] = learned ? state->heads[h].threshold + head->log2_sum
                                   : sample_max(x, s->sample_n[g]) - 4.0F;
        s->thresholds[h] = fminf(s->thresholds[h], head->cap);
    }
    solve(c, g, 14);
    set_key_thresholds(c, g, true);
}

static void next_look(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t head = g * c->plan->group;
    weigh_sample(c, g);
    predict(c, g);
    for (int32_t h = head; h < head + c->plan->group; h++) {
        struct vattn_head * x = &s->heads[h];
        bool tail = x->predicted > -FAR;
        x->goal = x->fall > 1.0 && tail ? x->predicted - (float)log2(x->fall) : FAR;
        x->least = 0.0F;
        x->cap = fminf(x->cap, s->thresholds[h]);
        s->thresholds[h] = x->cap;
        if (x->fall > 1.0 && !tail) { /* the subsample has nothing left to predict with */
            x->cap = s->thresholds[h] -= (float)log2(x->fall);
        }
    }
    solve(c, g, 8);
    set_key_thresholds(c, g, false);
}

void vattn_sparse_design(struct vattn_call * c, int32_t g) {
    struct vattn_group * group = &c->sparse->groups[g];
    if (group->looks == 0) {
        first_look(c, g);
    } else {
        next_look(c, g);
    }
    if (vattn_sparse_too_slow(c, g)) {
        group->state = VATTN_GROUP_EXACT;
    }
}

/* ----------------------------------------------------------------------------------------------------------- learn */

static float blend(float old, float now, int32_t steps) {
    return steps == 0 ? now : 0.7F * old + 0.3F * now;
}

/* Everything relative to the predicted log2 D, so that it carries over to the next query. */
void vattn_sparse_learn(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    if (c->in.state == NULL) {
        return;
    }
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        const struct vattn_head * head = &s->heads[h];
        struct vattn_learned * l = &c->in.state->heads[h];
        if (!(head->predicted > -FAR) || !(head->evidence.v > 0.0) || !(head->evidence.o2 > 0.0)) {
            continue;
        }
        float factor = (float)log2(head->evidence.v / head->evidence.o2) + 2.0F * head->log2_sum - head->predicted;
        l->log2_factor = blend(l->log2_factor, factor, l->steps);
        l->threshold = blend(l->threshold, s->thresholds[h] - head->log2_sum, l->steps);
        l->cap = blend(l->cap, head->last_cap - head->log2_sum, l->steps);
        l->key_cap = blend(l->key_cap, head->last_key_cap - head->log2_sum, l->steps);
        l->steps++;
    }
}
