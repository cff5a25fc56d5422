/* SPDX-License-Identifier: MIT */
#include "unit/sparse_twin.h"

#include <math.h>
#include <stdlib.h>

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

/* pi of a row for the group of head h, in units of 2^-24: keys are drawn by proxies, values by exact scores. */
static double probability(const struct layer * l, const struct vattn_call * c, int32_t h, int64_t row) {
    const struct vattn_sparse * s = c->sparse;
    int32_t group = c->plan->group, first = h / group * group;
    double proxy = -INFINITY, exact = -INFINITY, bonus = vattn_sparse_bonus(c, h / group, row)[0] / 8.0;
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
    double key = fmax(VATTN_PROB_ONE >> 10, units((double)(float)(proxy + bonus)));
    return fmin(key, fmax(floor(key / 8.0), units((double)(float)(exact + bonus))));
}

static bool drawn(const struct vattn_call * c, int32_t h, int64_t row, double p) {
    const struct vattn_options * o = &c->plan->opt;
    const uint32_t counter[4] = {(uint32_t)(row / 4), (uint32_t)c->in.nonce, (uint32_t)(c->in.nonce >> 32),
                                 vattn_random_stream(VATTN_RANDOM_SAMPLE, c->in.layer, h / c->plan->group)};
    const uint32_t key[2] = {(uint32_t)o->seed, (uint32_t)(o->seed >> 32)};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return (double)(word[row & 3] >> 8) < p;
}

void twin_look(const struct layer * l, const struct vattn_call * c, int32_t h, struct twin * t) {
    int32_t dv = l->options.v_dim, g = h / c->plan->group;
    int64_t n = l->kv.n_keys;
    double *e = malloc((size_t)n * sizeof *e), *pi = malloc((size_t)n * sizeof *pi), m = -INFINITY, d = 0.0;
    *t = (struct twin){.o = calloc((size_t)dv, sizeof *t->o)};
    for (int64_t r = 0; r < n; r++) {
        double p = probability(l, c, h, r);
        pi[r] = drawn(c, h, r, p) ? p / VATTN_PROB_ONE : 0.0;
        e[r] = score(l, h, r);
        m = fmax(m, e[r]);
    }
#define V(r, a) ((double)l->v32[((size_t)(r) * (size_t)l->options.n_kv_heads + (size_t)g) * (size_t)dv + (size_t)(a)])
    for (int64_t r = 0; r < n; r++) {
        e[r] = exp(e[r] - m);
        if (pi[r] > 0.0) {
            t->rows++;
            d += e[r] / pi[r];
            for (int32_t a = 0; a < dv; a++) {
                t->o[a] += e[r] / pi[r] * V(r, a);
            }
        }
    }
    for (int32_t a = 0; a < dv; a++) {
        t->o[a] /= d;
    }
    double *S = calloc((size_t)dv * (size_t)dv, sizeof *S), *bias = calloc((size_t)dv, sizeof *bias), q = 0.0;
    for (int64_t r = 0; r < n; r++) {
        double w = pi[r] > 0.0 ? (1.0 - pi[r]) / (pi[r] * pi[r]) * e[r] * e[r] / (d * d) : 0.0, y = 0.0;
        if (w == 0.0) {
            continue;
        }
        for (int32_t a = 0; a < dv; a++) {
            double x = V(r, a) - t->o[a];
            y += w * x * x;
            bias[a] += w * x;
            for (int32_t b = 0; b < dv; b++) {
                S[a * dv + b] += w * x * (V(r, b) - t->o[b]);
            }
        }
        t->v += y;
        t->a0 += w;
        q += (1.0 - pi[r]) * y * y;
    }
    for (int32_t i = 0; i < dv * dv; i++) {
        t->trace2 += S[i] * S[i];
    }
    for (int32_t a = 0; a < dv; a++) {
        t->bias += bias[a] * bias[a];
    }
    t->bias = sqrt(t->bias);
    t->neff = t->v * t->v / q;
    free(S);
    free(bias);
    free(e);
    free(pi);
}
