/* SPDX-License-Identifier: MIT
 *
 * JUDGE: estimates and the proven bound of up to four heads of one KV head after a look.  In two steps (docs/statistics.md,
 * "Strict mode"), z = lambda e_i times a distance, sums over the tail rows read:
 *
 *     crude   beta = (crude_level + sum c(lambda e_i sqrt(|v_i - a|^2 + within^2), pi_i)) / (lambda D^)
 *             |o^ - o| <= radius(beta, |o^ - a|, within);  void unless it shows |o - a| <= within
 *     fine    C(y) = sum c(lambda e_i (|v_i - o^| + y), pi_i):  lambda D^ y < level + C(y) for y = |o^ - o|
 *
 * C is convex, so if the second inequality fails at y = x |o^| and at the crude bound, it fails between them.
 * What the design of the next look needs is kept: the shares e/D of the tail rows and their pulls e/D (|v - o^| + x |o^|).
 */
#include "strict/strict.h"

#include <math.h>
#include <string.h>

#include "verify/price.h"

#define STRIP     VATTN_STRICT_STRIP
#define MAX_HEADS VATTN_STRICT_HEADS

/* o = N/D over all chunks; returns log2 D. */
static double estimate(const struct vattn_call * c, int32_t head, float * o) {
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
    struct vattn_rows v = vattn_v_rows(c->in.kv, t->g);
    size_t v_dim = (size_t)c->plan->opt.v_dim, head = (size_t)(t->g * c->plan->group + t->first);
    v.index = t->list;
    v.n = t->rows;
    vattn_plan_distance(c->plan, &v, centers + head * v_dim, t->n, t->dist2, STRIP);
}

typedef void strip_fn(struct vattn_call * c, const struct strip * t);

/* All tail rows of a KV head, strip by strip, in the order of their lists. */
static void for_strips(struct vattn_call * c, int32_t g, int32_t first, int32_t n, const float * centers,
                       strip_fn * fn) {
    struct vattn_strict * s = c->strict;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        int32_t n_tail = vattn_strict_chunk(s, g, k)->n_tail;
        size_t list = vattn_strict_list(s, g, k);
        for (int32_t at = 0; at < n_tail; at += STRIP) {
            struct strip t = {.g = g,
                              .chunk = k,
                              .first = first,
                              .n = n,
                              .at = at,
                              .rows = n_tail - at < STRIP ? n_tail - at : STRIP,
                              .list = s->rows + list + at,
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

/* Crude bound: prices about the center that was fixed before the draw. */
static void add_crude(struct vattn_call * c, const struct strip * t) {
    for (int32_t i = 0; i < t->n; i++) {
        int32_t h = t->g * c->plan->group + t->first + i;
        struct vattn_strict_head * head = &c->strict->heads[h];
        float share[STRIP];
        if (head->passed) {
            continue;
        }
        to_shares(c, t, h, share);
        double lambda = exp2(head->log2_lambda + head->log2_d), within2 = head->within * head->within;
        for (int32_t j = 0; j < t->rows; j++) {
            double z = lambda * (double)share[j] * sqrt((double)t->dist2[i * STRIP + j] + within2);
            head->crude += vattn_price(z, probability(t, j));
        }
    }
}

/* About the estimate: variance, prices at the error that is allowed and at the crude bound; shares and pulls to keep. */
static void look_at(struct vattn_call * c, const struct strip * t) {
    struct vattn_strict * s = c->strict;
    for (int32_t i = 0; i < t->n; i++) {
        int32_t h = t->g * c->plan->group + t->first + i;
        struct vattn_strict_head * head = &s->heads[h];
        float share[STRIP];
        if (head->passed) {
            continue;
        }
        to_shares(c, t, h, share);
        float * pull = strip_of(s, t, h, s->pull);
        bool pilot = s->groups[t->g].looks == 0;
        double lambda = exp2(head->log2_lambda + head->log2_d), allowed = c->plan->x * head->norm;
        for (int32_t j = 0; j < t->rows; j++) {
            double e = (double)share[j], p = probability(t, j), r2 = (double)t->dist2[i * STRIP + j], r = sqrt(r2);
            double w = (1.0 - p) / (p * p) * e * e;
            head->v += w * r2;
            head->a0 += w;
            head->spent += pilot ? 0.0 : vattn_price(lambda * e * (r + allowed), p);
            head->spent_far += pilot ? 0.0 : vattn_price(lambda * e * (r + head->radius), p);
            pull[j] = (float)(e * (r + allowed));
        }
        memcpy(strip_of(s, t, h, s->weights), share, (size_t)t->rows * sizeof *share);
        head->draws += t->rows;
    }
}

/* The crude bound of one head, in `radius`; infinity where it does not keep o as near to the center as the look assumed. */
static void conclude_crude(const struct vattn_call * c, int32_t h) {
    struct vattn_strict_head * head = &c->strict->heads[h];
    size_t at = (size_t)h * (size_t)c->plan->opt.v_dim;
    double off = distance(c->strict->estimates + at, c->strict->centers + at, c->plan->opt.v_dim);
    double beta = (head->crude_level + head->crude) / exp2(head->log2_lambda + head->log2_d);
    double radius = vattn_price_radius(beta, off, head->within);
    head->radius = off + radius <= head->within ? radius : INFINITY;
}

/* |o^ - o| = y has  lambda D^ y < level + C(y), C rising and convex: excluded from here to the crude bound. */
static void conclude(const struct vattn_call * c, int32_t h) {
    struct vattn_strict_head * head = &c->strict->heads[h];
    double lambda = exp2(head->log2_lambda + head->log2_d), allowed = c->plan->x * head->norm;
    double radius = (head->level + head->spent) / lambda;
    bool beyond = head->level + head->spent_far < lambda * head->radius; /* false where the crude bound is infinite */
    head->passed = beyond && radius <= allowed && head->norm > 0.0;
    head->radius = head->passed ? radius : INFINITY;
}

static void begin_head(struct vattn_call * c, int32_t g, int32_t h) {
    struct vattn_strict_head * head = &c->strict->heads[h];
    int32_t v_dim = c->plan->opt.v_dim;
    float * o = c->strict->estimates + (size_t)h * (size_t)v_dim;
    head->log2_d = estimate(c, h, o);
    head->norm = distance(o, NULL, v_dim);
    head->from_mean = distance(o, c->in.index->books[g].v_mean, v_dim);
    head->v = head->a0 = head->crude = head->spent = head->spent_far = 0.0;
    head->radius = INFINITY;
    head->draws = 0;
}

void vattn_strict_judge(struct vattn_call * c, int32_t g, int32_t first, int32_t n) {
    struct vattn_strict * s = c->strict;
    int32_t from = g * c->plan->group + first;
    bool pilot = s->groups[g].looks == 0;
    for (int32_t h = from; h < from + n; h++) {
        if (!s->heads[h].passed) {
            begin_head(c, g, h);
        }
    }
    if (!pilot) {
        for_strips(c, g, first, n, s->centers, add_crude);
        for (int32_t h = from; h < from + n; h++) {
            if (!s->heads[h].passed) {
                conclude_crude(c, h);
            }
        }
    }
    for_strips(c, g, first, n, s->estimates, look_at);
    for (int32_t h = from; h < from + n && !pilot; h++) {
        if (!s->heads[h].passed) {
            conclude(c, h);
        }
    }
}
