/* SPDX-License-Identifier: MIT
 *
 * DESIGN: thresholds t_h of one KV head from a subsample of its proxy scores (P = score + log2 |v - mean of its kind|).
 *
 *     pi_i    = clamp(2^(max_h(P_hi - t_h)))          w_i = 1/pi_i - 1
 *     V_h     = sum w_i 2^(2 P_hi)                    predicted variance, up to a factor F_h
 *     draws_h = (sum w z)^2 / sum w^3 z^2, z = 2^(2P) predicted effective draws
 *
 * All heads profit from all rows that any head asks for, so the thresholds are solved jointly: each t_h moves by what
 * its V_h (and draws_h) are off, all at once, a few times.  In scope layer errors of all heads count alike, so there is one
 * threshold on e ||v - c|| / D for all heads of a KV head, moved by what the sum of their V_h is off.  F_h is the forecast of v_rms^2 / ||o||^2, for the code's
 * expected error, times what the controller learned about such forecasts.  Later looks lower V_h by the factor that the judge asked for.
 * The design may see proxies and the verdicts of earlier looks, nothing else of the sample.
 */
#include "sparse/sparse.h"

#include <math.h>
#include <string.h>

#include "call/state.h"

#define LN2         0.6931472F
#define FIRST_DRAWS 12.0F   /* effective draws that the first look is designed for */
#define FIRST_NU    12.0    /* degrees of freedom that it expects */
#define FIRST_LESS  (-0.6F) /* log2 of the variance that it leaves to another look: most heads profit from neighbours */
#define WARM_MORE   0.3F    /* the same of a warm call, which is to pass at once: half of the calls would fail at 0 */
#define LAYER_MORE  0.3F    /* the same of a layer's, whose KV heads know nothing of one another */
#define CAP_MARGIN  0.3F    /* octaves that its caps are below what guard C is expected to ask for */
#define KEY_MARGIN  0.5F    /* keys are read this many octaves below t, plus the proxy's expected error */
#define KEY_MOST    6.0F
#define FLOOR       0x1p-10F
#define FAR         1e30F

/* ------------------------------------------------------------------------------------------------------- subsample */

static bool eligible(const struct vattn_sparse * s, int64_t row) {
    return ((unsigned)(s->visible[row / 16] & ~s->sure[row / 16]) >> (row % 16) & 1U) != 0;
}

/* The rows of the subsample and how far their values are from their kinds. */
static int32_t list_sample(const struct vattn_call * c, int32_t g, int32_t * list, int8_t * off, int32_t * kind, int64_t * stride) {
    const struct vattn_sparse * s = c->sparse;
    int64_t rows = c->in.kv->n_keys, want = s->sample_ld - 64;
    int32_t n = 0;
    *stride = (rows + want - 1) / want;
    for (int64_t row = *stride / 2; row < rows; row += *stride) {
        list[n] = (int32_t)row;
        n += eligible(s, row);
    }
    vattn_sparse_look_up(c, g, list, n, off, kind);
    return n;
}

static void take_sample(struct vattn_call * c, int32_t g, float * plain) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    int64_t stride;
    int32_t group = c->plan->group, * list = slot->rows; /* the lists are empty until GATHER */
    int32_t n = list_sample(c, g, list, slot->list_bonus, slot->kind, &stride);
    for (int32_t i = 0; i < group; i++) {
        const float * score = slot->scores + (size_t)i * (size_t)s->ld;
        float *own = plain + (size_t)i * (size_t)s->sample_ld, *sum = slot->sample + (size_t)i * (size_t)s->sample_ld;
        for (int32_t j = 0; j < n; j++) {
            own[j] = score[list[j]];
            sum[j] = own[j] + 0.125F * (float)slot->list_bonus[j];
        }
    }
    for (; n % 8 != 0; n++) { /* padding: read for sure, no weight */
        for (int32_t i = 0; i < group; i++) {
            plain[(size_t)i * (size_t)s->sample_ld + (size_t)n] = -INFINITY;
            slot->sample[(size_t)i * (size_t)s->sample_ld + (size_t)n] = INFINITY;
        }
    }
    s->sample_n[g] = n;
    s->sample_scale[g] = (float)stride;
}

/* --------------------------------------------------------------------------------------------------------- predict */

/* Weights of the subsample relative to the current thresholds. */
static void weigh_sample(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    int32_t n = s->sample_n[g];
    for (int32_t i = 0; i < c->plan->group; i++) {
        const float * x = slot->sample + (size_t)i * (size_t)s->sample_ld;
        float *w2 = slot->sample_w2 + (size_t)i * (size_t)s->sample_ld, t = s->thresholds[g * c->plan->group + i];
        for (int32_t j = 0; j < n; j++) {
            float z = 2.0F * (x[j] - t);
            w2[j] = z > 60.0F ? -INFINITY : z; /* read for sure: no variance */
        }
        (void)c->plan->kern->exp2_sum(w2, n, 0.0F);
        s->heads[g * c->plan->group + i].origin = t;
    }
}

static void predict(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group, head = g * group;
    float *v = s->design_sums + 2 * head, *q = v + group;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    c->plan->kern->design(slot->sample, slot->sample_w2, (ptrdiff_t)s->sample_ld, s->thresholds + head, group,
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

/* log2 of the predicted variance of all heads of a KV head together, in units of v_rms^2 */
static float shared_variance(const struct vattn_call * c, int32_t g) {
    const struct vattn_head * head = &c->sparse->heads[g * c->plan->group];
    float v = 0.0F;
    for (int32_t i = 0; i < c->plan->group; i++) {
        v += exp2f(head[i].predicted + head[i].unit);
    }
    return v > 0.0F ? log2f(v) : -FAR;
}

static void solve(struct vattn_call * c, int32_t g, int steps) {
    struct vattn_sparse * s = c->sparse;
    int32_t head = g * c->plan->group;
    weigh_sample(c, g);
    for (int step = 0; step <= steps; step++) {
        float limit = step < 3 ? 8.0F : step < 6 ? 2.0F : 0.7F;
        bool moved = false;
        predict(c, g);
        float shared = c->plan->opt.scope == VATTN_SCOPE_LAYER ? s->groups[g].goal - shared_variance(c, g) : 0.0F;
        for (int32_t h = head; h < head + c->plan->group; h++) {
            float d = c->plan->opt.scope == VATTN_SCOPE_LAYER ? shared : slack(&s->heads[h]), old = s->thresholds[h];
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

/* log2 of t - tk, where guard C does not ask for more */
static float key_margin(const struct vattn_head * head) {
    return fminf(KEY_MARGIN + head->sigma, KEY_MOST);
}

static void set_key_thresholds(struct vattn_call * c, int32_t g, bool first) {
    struct vattn_sparse * s = c->sparse;
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        float tk = fminf(s->thresholds[h] - key_margin(&s->heads[h]), s->heads[h].key_cap);
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

/*
 * log2 of E V / ||o||^2 over the design's prediction, sum (1/pi - 1) 2^(2 P), for the code's expected error.  With
 * |v - c| ~ 2^lift |v - mu| and pi1/pi ~ 2^(margin + lift), drawing keys brings 2^(lift - margin) of it, values 1 - pi/pi1.
 */
static float expected_factor(const struct vattn_call * c, int32_t h) {
    const struct vattn_head * head = &c->sparse->heads[h];
    float lift = c->in.index->books[h / c->plan->group].lift, margin = key_margin(head);
    return LN2 * head->sigma * head->sigma - log2f(head->output2) + log2f(1.0F + exp2f(lift - margin) - exp2f(-lift - margin));
}

/* What was learned about a head, NULL if nothing. */
static const struct vattn_learned * learned(const struct vattn_call * c, int32_t h) {
    return c->in.state != NULL && c->in.state->heads[h].steps > 0 ? &c->in.state->heads[h] : NULL;
}

/* log2 of the quantile that a head, or a layer, will be judged by. */
static float expected_c(const struct vattn_call * c, const struct vattn_learned * l, double nu) {
    return l != NULL && l->log2_c > 0.0F
               ? l->log2_c
               : (float)log2(vattn_quantile_f(&c->plan->quantile, nu, 2.0 * (double)FIRST_DRAWS));
}

/* Caps of the first look, for an expected error of `allowed` v_rms, and the threshold to start from. */
static void set_start(struct vattn_call * c, int32_t h, double allowed, float correction, float start) {
    struct vattn_head * head = &c->sparse->heads[h];
    head->cap = (float)vattn_sparse_cap(c, allowed) + head->log2_sum - CAP_MARGIN + correction;
    head->key_cap = head->cap - (float)vattn_sparse_key_care(c, h);
    c->sparse->thresholds[h] = fminf(start, head->cap);
}

/* What the first look is to reach for a head. */
static void set_goal(struct vattn_call * c, int32_t h) {
    struct vattn_sparse * s = c->sparse;
    struct vattn_head * head = &s->heads[h];
    const struct vattn_learned * l = learned(c, h);
    double eps = c->plan->opt.eps;
    int32_t g = h / c->plan->group, i = h % c->plan->group;
    float factor = expected_factor(c, h) + (l != NULL ? l->log2_factor + WARM_MORE : FIRST_LESS);
    head->goal = 2.0F * (log2f((float)eps) + head->log2_sum) - expected_c(c, l, FIRST_NU) - factor;
    head->least = FIRST_DRAWS;
    float start =
        l != NULL ? l->threshold + head->log2_sum
                  : sample_max(vattn_sparse_slot(s, g)->sample + (size_t)i * (size_t)s->sample_ld, s->sample_n[g]) - 4.0F;
    set_start(c, h, eps * sqrt((double)head->output2), l != NULL ? l->log2_output : 0.0F, start);
}

/* Scope layer: this KV head's part of the promise, as if the others were like it. */
static void set_shared_goal(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group, first = g * group;
    double output2 = 0.0, eps = c->plan->opt.eps;
    for (int32_t h = first; h < first + group; h++) {
        struct vattn_head * head = &s->heads[h];
        const struct vattn_learned * l = learned(c, h);
        float factor = expected_factor(c, h) + (l != NULL ? l->log2_factor + WARM_MORE : FIRST_LESS);
        head->unit = factor + log2f(head->output2) - 2.0F * head->log2_sum;
        output2 += (double)head->output2;
    }
    float log2_c = expected_c(c, learned(c, first), FIRST_NU * (double)c->plan->opt.n_kv_heads);
    s->groups[g].goal = (float)log2(eps * eps * output2) - log2_c + LAYER_MORE;
    for (int32_t h = first; h < first + group; h++) {
        set_start(c, h, eps * sqrt(output2 * c->plan->opt.n_kv_heads), 0.0F,
                  0.5F * (s->groups[g].goal - s->heads[h].unit) - 4.0F);
    }
}

static void first_look(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group;
    float * plain = vattn_sparse_slot(s, g)->sample_w2; /* until solve() weighs the sample */
    take_sample(c, g, plain);
    vattn_sparse_forecast(c, g, plain);
    if (c->plan->opt.scope == VATTN_SCOPE_LAYER) {
        set_shared_goal(c, g);
    }
    for (int32_t h = g * group; h < (g + 1) * group && c->plan->opt.scope != VATTN_SCOPE_LAYER; h++) {
        set_goal(c, h);
    }
    solve(c, g, 14);
    set_key_thresholds(c, g, true);
}

static void next_look(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t head = g * c->plan->group;
    weigh_sample(c, g);
    predict(c, g);
    float fall = 1.0F, shared = shared_variance(c, g);
    for (int32_t h = head; h < head + c->plan->group; h++) {
        struct vattn_head * x = &s->heads[h];
        fall = fmaxf(fall, (float)x->fall);
        bool tail = x->predicted > -FAR;
        x->goal = x->fall > 1.0 && tail ? x->predicted - (float)log2(x->fall) : FAR;
        x->least = 0.0F;
        x->cap = fminf(x->cap, s->thresholds[h]);
        s->thresholds[h] = x->cap;
        if (x->fall > 1.0 && !tail) { /* the subsample has nothing left to predict with */
            x->cap = s->thresholds[h] -= (float)log2(x->fall);
        }
    }
    s->groups[g].goal = fall > 1.0F && shared > -FAR ? shared - log2f(fall) : FAR;
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

/* The quantile that a head was judged by, if its degrees of freedom were measured. */
static void learn_quantile(const struct vattn_plan * plan, const struct vattn_evidence * e, struct vattn_learned * l) {
    if (!(e->trace2 < 0.999 * e->v * e->v)) {
        return;
    }
    double nu = vattn_evidence_nu(e, plan->delta_head, plan->opt.v_dim), neff = fmax(1.0, vattn_evidence_neff(e));
    float now = (float)log2(vattn_quantile_f(&plan->quantile, nu, 2.0 * neff));
    l->log2_c = l->log2_c > 0.0F ? blend(l->log2_c, now, 1) : now;
}

/* Everything relative to what was predicted, so that it carries over to the next query. */
void vattn_sparse_learn(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    if (c->in.state == NULL) {
        return;
    }
    double v_rms = (double)c->in.index->books[g].v_rms;
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        const struct vattn_head * head = &s->heads[h];
        struct vattn_learned * l = &c->in.state->heads[h];
        if (!(head->predicted > -FAR) || !(head->evidence.v > 0.0) || !(head->evidence.o2 > 0.0)) {
            continue;
        }
        float factor = (float)log2(head->evidence.v / head->evidence.o2) + 2.0F * head->log2_sum - head->predicted;
        float output = 0.5F * (float)log2(head->evidence.o2 / (v_rms * v_rms * (double)head->output2));
        l->log2_factor = blend(l->log2_factor, factor - expected_factor(c, h), l->steps);
        l->threshold = blend(l->threshold, s->thresholds[h] - head->log2_sum, l->steps);
        l->log2_output = blend(l->log2_output, output + head->log2_d - head->log2_sum, l->steps);
        learn_quantile(c->plan, c->plan->opt.scope == VATTN_SCOPE_LAYER ? &s->layer : &head->evidence, l);
        l->steps++;
    }
}
