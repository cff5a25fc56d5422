/* SPDX-License-Identifier: MIT
 *
 * JUDGE: estimates and the proven bound of up to four heads of one KV head after a look.
 *
 *     C    = sum over the tail rows read of c(lambda e_i sqrt(|v_i - a|^2 + kappa^2), pi_i)
 *     beta = (level + C) / (lambda D^)        |o^ - o| <= radius(beta, |o^ - a|, kappa)
 *
 * A head that fails gets what the design of the next look needs: its estimate as the new center, and the pull
 * e/D sqrt(|v - a|^2 + kappa^2) of every tail row about it.
 */
#include "strict/strict.h"

#include <math.h>
#include <string.h>

#include "verify/price.h"

#define STRIP     VATTN_STRICT_STRIP
#define MAX_HEADS VATTN_STRICT_HEADS
#define SPREAD    1.25 /* |o - a| is taken to be this many standard errors of a, plus the error that is allowed */

/* o = N/D over all chunks; returns log2 D and the reference score m. */
static double estimate(const struct vattn_call * c, int32_t head, float * o, float * m_out) {
    const struct vattn_strict * s = c->strict;
    int32_t v_dim = c->plan->opt.v_dim;
    float m = -INFINITY;
    double d = 0.0;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        m = fmaxf(m, vattn_strict_partial(c, k, head).m[0]);
    }
    memset(o, 0, (size_t)v_dim * sizeof *o);
    for (int32_t k = 0; k < s->n_chunks; k++) {
        struct vattn_partial p = vattn_strict_partial(c, k, head);
        float f = p.m[0] == -INFINITY ? 0.0F : exp2f(p.m[0] - m);
        d += (double)(f * p.d[0]);
        for (int32_t i = 0; i < v_dim && f > 0.0F; i++) {
            o[i] += f * p.n[i];
        }
    }
    for (int32_t i = 0; i < v_dim; i++) {
        o[i] = (float)(o[i] / d);
    }
    *m_out = m;
    return (double)m + log2(d);
}

static double distance(const float * a, const float * b, int32_t n) {
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++) {
        double x = (double)a[i] - (b == NULL ? 0.0 : (double)b[i]);
        sum += x * x;
    }
    return sqrt(sum);
}

/* One strip of the tail rows of one chunk, for n heads of a KV head from `first` on. */
struct strip {
    int32_t g, chunk, first, n;
    int32_t at, rows; /* in the chunk's list */
    const int32_t * list;
    const int32_t * prob;
    float dist2[MAX_HEADS * STRIP]; /* |v - center|^2 */
};

static void strip_distances(const struct vattn_call * c, struct strip * t, const float * centers) {
    static const float none[MAX_HEADS * STRIP] = {0};
    struct vattn_strict * s = c->strict;
    struct vattn_rows v = vattn_v_rows(c->in.kv, t->g);
    size_t v_dim = (size_t)c->plan->opt.v_dim, head = (size_t)(t->g * c->plan->group + t->first);
    v.index = t->list;
    v.n = t->rows;
    vattn_plan_deviation(c->plan, &v, centers + head * v_dim, none, STRIP, t->n, 0, t->dist2,
                         s->buckets + head * VATTN_BUCKETS * v_dim);
}

typedef void strip_fn(struct vattn_call * c, const struct strip * t);

/* All tail rows of a KV head, strip by strip, in the order of their lists. */
static void for_strips(struct vattn_call * c, int32_t g, int32_t first, int32_t n, const float * centers, strip_fn * fn) {
    struct vattn_strict * s = c->strict;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        int32_t n_tail = vattn_strict_chunk(s, g, k)->n_tail;
        size_t list = vattn_strict_list(s, g, k);
        for (int32_t at = 0; at < n_tail; at += STRIP) {
            struct strip t = {.g = g, .chunk = k, .first = first, .n = n, .at = at,
                              .rows = n_tail - at < STRIP ? n_tail - at : STRIP, .list = s->rows + list + at,
                              .prob = s->prob + list + at};
            strip_distances(c, &t, centers);
            fn(c, &t);
        }
    }
}

static double probability(const struct strip * t, int32_t j) {
    return (double)t->prob[j] * (1.0 / VATTN_PROB_ONE);
}

/* Where weights (or e/D) of head h of this strip are. */
static float * strip_of(const struct vattn_strict * s, const struct strip * t, int32_t h, float * x) {
    return x + (size_t)h * (size_t)s->ld + (size_t)vattn_strict_begin_row(s, t->chunk) + t->at;
}

/* Weights e/pi of the chunk -> e/D. */
static void to_shares(struct vattn_call * c, const struct strip * t, int32_t h, float * share) {
    const struct vattn_strict * s = c->strict;
    const float * w = strip_of(s, t, h, s->weights);
    double scale = exp2((double)vattn_strict_partial(c, t->chunk, h).m[0] - s->heads[h].log2_d);
    for (int32_t j = 0; j < t->rows; j++) {
        share[j] = (float)((double)w[j] * probability(t, j) * scale);
    }
}

/* Prices and variance about the center that was fixed before the draw. */
static void add_prices(struct vattn_call * c, const struct strip * t) {
    for (int32_t i = 0; i < t->n; i++) {
        int32_t h = t->g * c->plan->group + t->first + i;
        struct vattn_strict_head * head = &c->strict->heads[h];
        float share[STRIP];
        if (head->passed) {
            continue;
        }
        to_shares(c, t, h, share);
        double lambda = exp2(head->log2_lambda + head->log2_d), kappa2 = head->kappa * head->kappa;
        for (int32_t j = 0; j < t->rows; j++) {
            double e = (double)share[j], r2 = (double)t->dist2[i * STRIP + j], p = probability(t, j);
            double z = lambda * e * sqrt(r2 + kappa2);
            head->spent += z <= VATTN_STRICT_THETA * 1.001 * p || p >= 1.0 ? vattn_price(z, p) : INFINITY;
            head->v += (1.0 - p) / (p * p) * e * e * r2;
        }
        head->draws += t->rows;
    }
}

/* Shares in place of weights, squared distances from the new center in place of pulls, variance about it. */
static void look_back(struct vattn_call * c, const struct strip * t) {
    struct vattn_strict * s = c->strict;
    for (int32_t i = 0; i < t->n; i++) {
        int32_t h = t->g * c->plan->group + t->first + i;
        struct vattn_strict_head * head = &s->heads[h];
        float share[STRIP];
        if (head->passed) {
            continue;
        }
        to_shares(c, t, h, share);
        for (int32_t j = 0; j < t->rows; j++) {
            double e = (double)share[j], p = probability(t, j), w = (1.0 - p) / (p * p) * e * e;
            head->v += w * (double)t->dist2[i * STRIP + j];
            head->a0 += w;
        }
        memcpy(strip_of(s, t, h, s->weights), share, (size_t)t->rows * sizeof *share);
        memcpy(strip_of(s, t, h, s->pull), t->dist2 + i * STRIP, (size_t)t->rows * sizeof *share);
        head->draws += t->rows;
    }
}

/* kappa balances what it adds to every row against what |o - a| can do to the denominator's error. */
static double balance(const struct vattn_call * c, int32_t g, const struct vattn_strict_head * head) {
    double usual = head->a0 > 0.0 ? sqrt(head->v / head->a0) : (double)c->in.index->books[g].v_rms;
    return sqrt(usual * (SPREAD * sqrt(head->v) + c->plan->x * head->norm));
}

static void set_pulls(struct vattn_call * c, int32_t g, int32_t h) {
    struct vattn_strict * s = c->strict;
    struct vattn_strict_head * head = &s->heads[h];
    float kappa2 = (float)(head->kappa * head->kappa);
    for (int32_t k = 0; k < s->n_chunks; k++) {
        size_t at = (size_t)h * (size_t)s->ld + (size_t)vattn_strict_begin_row(s, k);
        for (int32_t j = 0; j < vattn_strict_chunk(s, g, k)->n_tail; j++) {
            s->pull[at + (size_t)j] = s->weights[at + (size_t)j] * sqrtf(s->pull[at + (size_t)j] + kappa2);
        }
    }
}

/* The bound of one head, about the center of its look. */
static void conclude(struct vattn_call * c, int32_t h) {
    struct vattn_strict * s = c->strict;
    struct vattn_strict_head * head = &s->heads[h];
    size_t at = (size_t)h * (size_t)c->plan->opt.v_dim;
    double off = distance(s->estimates + at, s->centers + at, c->plan->opt.v_dim);
    double beta = (head->level + head->spent) / exp2(head->log2_lambda + head->log2_d);
    head->radius = vattn_price_radius(beta, off, head->kappa);
    head->passed = head->norm > 0.0 && head->radius <= c->plan->x * head->norm;
}

void vattn_strict_judge(struct vattn_call * c, int32_t g, int32_t first, int32_t n) {
    struct vattn_strict * s = c->strict;
    int32_t v_dim = c->plan->opt.v_dim, from = g * c->plan->group + first;
    if (s->groups[g].state != VATTN_STRICT_OPEN) {
        return;
    }
    for (int32_t h = from; h < from + n; h++) {
        struct vattn_strict_head * head = &s->heads[h];
        float * o = s->estimates + (size_t)h * (size_t)v_dim, m;
        if (!head->passed) {
            head->log2_d = estimate(c, h, o, &m);
            head->norm = distance(o, NULL, v_dim);
            head->from_mean = distance(o, c->in.index->books[g].v_mean, v_dim);
            head->v = head->a0 = head->spent = 0.0;
            head->radius = INFINITY;
            head->draws = 0;
        }
    }
    if (s->groups[g].looks > 0) {
        for_strips(c, g, first, n, s->centers, add_prices);
        for (int32_t h = from; h < from + n; h++) {
            if (!s->heads[h].passed) {
                conclude(c, h);
            }
        }
    }
    if (s->groups[g].looks + 1 == vattn_strict_looks(c->plan)) {
        return;
    }
    for (int32_t h = from; h < from + n; h++) {
        if (!s->heads[h].passed) {
            s->heads[h].v = s->heads[h].a0 = 0.0;
            s->heads[h].draws = 0;
        }
    }
    for_strips(c, g, first, n, s->estimates, look_back);
    for (int32_t h = from; h < from + n; h++) {
        if (!s->heads[h].passed) {
            memcpy(s->centers + (size_t)h * (size_t)v_dim, s->estimates + (size_t)h * (size_t)v_dim,
                   (size_t)v_dim * sizeof(float));
            s->heads[h].kappa = balance(c, g, &s->heads[h]);
            set_pulls(c, g, h);
        }
    }
}
