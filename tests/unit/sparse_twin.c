/* SPDX-License-Identifier: MIT */
#include "unit/sparse_twin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

/* The piecewise linear 2^x: 2^floor(x) (1 + x - floor(x)). */
static double piecewise_exp2(double x) {
    double whole = floor(x);
    return exp2(whole) * (1.0 + x - whole);
}

static double score(const struct layer * l, int32_t h, int64_t row) {
    int32_t d = l->options.head_dim, g = h / (l->options.n_heads / l->options.n_kv_heads);
    const float * k = l->k32 + ((size_t)row * (size_t)l->options.n_kv_heads + (size_t)g) * (size_t)d;
    double s = 0.0;
    for (int32_t a = 0; a < d; a++) {
        s += (double)l->q[h * d + a] * (double)k[a];
    }
    return s * (double)l->options.scale;
}

/* 2^24 times the piecewise linear 2^x, clamped to [0, 1]. */
static double units(double x) {
    return x >= 0.0 ? VATTN_PROB_ONE : trunc(VATTN_PROB_ONE * piecewise_exp2(fmax(x, -126.0)));
}

/* pi of a row for the group of head h, in units of 2^-24: keys are drawn by proxies (*key), values by exact scores. */
static double probability(const struct layer * l, const struct vattn_call * c, int32_t h, int64_t row, double * key) {
    const struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group, first = h / group * group;
    double proxy = -INFINITY, exact = -INFINITY, bonus = vattn_sparse_bonus(c, h / group, row)[0] / 8.0;
    const struct vattn_index * x = c->in.index;
    int32_t g = h / group;
    double off = (x->kinds != NULL ? vattn_index_off(x, g, row) : vattn_index_bonus(x, g)[row]) / 8.0;
    *key = VATTN_PROB_ONE;
    if (((unsigned)s->sure[row / 16] >> (row % 16) & 1U) != 0) {
        return VATTN_PROB_ONE;
    }
    for (int32_t i = first; i < first + group; i++) {
        /* differences are rounded to float by definition */
        float d = vattn_sparse_slot(s, h / group)->scores[(size_t)(i % group) * (size_t)s->ld + (size_t)row] - s->key_thresholds[i];
        float e = (float)(score(l, i, row) * VATTN_LOG2E) - s->thresholds[i];
        proxy = fmax(proxy, (double)d);
        exact = fmax(exact, (double)e);
    }
    *key = fmax(VATTN_PROB_ONE >> 10, units((double)(float)(proxy + bonus)));
    return fmin(*key, fmax(floor(*key / 16.0), units((double)(float)(exact + off))));
}

/* u of a row in units of 2^-24 */
static double number(const struct vattn_call * c, int32_t h, int64_t row) {
    const struct vattn_options * o = &c->plan->opt;
    const uint32_t counter[4] = {(uint32_t)(row / 4), (uint32_t)c->in.nonce, (uint32_t)(c->in.nonce >> 32),
                                 vattn_random_stream(VATTN_RANDOM_SAMPLE, c->in.layer, h / c->plan->group)};
    const uint32_t key[2] = {(uint32_t)o->seed, (uint32_t)(o->seed >> 32)};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return (double)(word[row & 3] >> 8);
}

/* What is known of the value of a row without reading it: the mean of its kind, from the tables of the index. */
static void mean_of_kind(const struct layer * l, int32_t g, int64_t row, double * out) {
    const struct vattn_index * x = l->index;
    const struct vattn_kinds * kinds = &x->kinds[g];
    const char * mean = kinds->mean + (size_t)vattn_index_kind(x, g, row) * kinds->row_bytes;
    for (int32_t a = 0; a < l->options.v_dim; a++) {
        out[a] = (double)vattn_row_element(l->options.v_type, mean, a);
    }
}

/* S += w x x' */
static void add_square(double * S, const double * x, double w, int32_t n) {
    for (int32_t a = 0; a < n; a++) {
        for (int32_t b = 0; b < n; b++) {
            S[a * n + b] += w * x[a] * x[b];
        }
    }
}

static double norm2(const double * x, int32_t n) {
    double sum = 0.0;
    for (int32_t a = 0; a < n; a++) {
        sum += x[a] * x[a];
    }
    return sum;
}

/* Rows of a look: weights e relative to the largest, probabilities of what was drawn, 0 where it was not. */
struct drawn_rows {
    double *e, *key, *pi;
};

static void draw_rows(const struct layer * l, const struct vattn_call * c, int32_t h, struct drawn_rows * x, int32_t * doubtful) {
    const double rounding = 1e-4; /* of a probability, from that of its score */
    int64_t n = l->kv.n_keys;
    double m = -INFINITY;
    *x = (struct drawn_rows){calloc((size_t)n, sizeof(double)), calloc((size_t)n, sizeof(double)),
                             calloc((size_t)n, sizeof(double))};
    for (int64_t r = 0; r < n; r++) {
        double key, p = probability(l, c, h, r, &key), u = number(c, h, r);
        x->key[r] = u < key ? key / VATTN_PROB_ONE : 0.0;
        x->pi[r] = u < p ? p / VATTN_PROB_ONE : 0.0;
        *doubtful += fabs(u - p) < rounding * p + 2.0;
        x->e[r] = score(l, h, r);
        m = fmax(m, x->e[r]);
    }
    for (int64_t r = 0; r < n; r++) {
        x->e[r] = exp(x->e[r] - m);
    }
}

/* N = sum_keys e/pi1 mu + sum_rows e/pi (v - mu),  D = sum_keys e/pi1; returns D, t->o = N/D. */
static double twin_estimate(const struct layer * l, int32_t g, const struct drawn_rows * x, struct twin * t) {
    int32_t dv = l->options.v_dim, kv = l->options.n_kv_heads;
    double d = 0.0, *mu = malloc((size_t)dv * sizeof *mu);
    for (int64_t r = 0; r < l->kv.n_keys; r++) {
        const float * v = l->v32 + ((size_t)r * (size_t)kv + (size_t)g) * (size_t)dv;
        double key = x->key[r] > 0.0 ? x->e[r] / x->key[r] : 0.0, value = x->pi[r] > 0.0 ? x->e[r] / x->pi[r] : 0.0;
        if (key == 0.0) { /* a value is read only where its key is */
            continue;
        }
        mean_of_kind(l, g, r, mu);
        d += key;
        t->rows += value > 0.0 ? 1 : 0;
        for (int32_t a = 0; a < dv; a++) {
            t->o[a] += key * mu[a] + (value > 0.0 ? value * ((double)v[a] - mu[a]) : 0.0);
        }
    }
    for (int32_t a = 0; a < dv; a++) {
        t->o[a] /= d;
    }
    free(mu);
    return d;
}

/* The covariance of the error as the rows that were read tell it: of drawing keys, and of drawing values. */
static void twin_variance(const struct layer * l, int32_t g, const struct drawn_rows * x, double d, struct twin * t) {
    int32_t dv = l->options.v_dim, kv = l->options.n_kv_heads;
    double *S = calloc((size_t)dv * (size_t)dv, sizeof *S), *far = malloc(2 * (size_t)dv * sizeof *far), *off = far + dv, q = 0.0;
    double * bias = calloc((size_t)dv, sizeof *bias);
    for (int64_t r = 0; r < l->kv.n_keys; r++) {
        double pi = x->pi[r], key = x->key[r], e = x->e[r] / d;
        if (key > 0.0) {
            t->a0 += (1.0 - key) / (key * key) * e * e;
        }
        if (!(pi > 0.0) || pi == 1.0) {
            continue;
        }
        const float * v = l->v32 + ((size_t)r * (size_t)kv + (size_t)g) * (size_t)dv;
        mean_of_kind(l, g, r, off);
        for (int32_t a = 0; a < dv; a++) {
            far[a] = (double)v[a] - t->o[a];
            off[a] = (double)v[a] - off[a];
        }
        double of_key = e * e / pi * (1.0 / key - 1.0), of_value = e * e / pi * (1.0 / pi - 1.0 / key);
        double y = of_key * norm2(far, dv) + of_value * norm2(off, dv);
        add_square(S, far, of_key, dv);
        add_square(S, off, of_value, dv);
        t->v += y;
        q += (1.0 - pi) * y * y;
        for (int32_t a = 0; a < dv; a++) { /* D and N - o D vary together through the keys alone */
            bias[a] += of_key * far[a];
        }
    }
    t->trace2 = norm2(S, dv * dv);
    t->bias = sqrt(norm2(bias, dv));
    t->neff = t->v * t->v / q;
    free(S);
    free(bias);
    free(far);
}

void twin_look(const struct layer * l, const struct vattn_call * c, int32_t h, struct twin * t) {
    int32_t g = h / c->plan->group;
    struct drawn_rows x;
    *t = (struct twin){.o = calloc((size_t)l->options.v_dim, sizeof *t->o)};
    draw_rows(l, c, h, &x, &t->doubtful);
    twin_variance(l, g, &x, twin_estimate(l, g, &x, t), t);
    free(x.e);
    free(x.key);
    free(x.pi);
}
