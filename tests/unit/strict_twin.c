/* SPDX-License-Identifier: MIT */
#include "unit/strict_twin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "verify/price.h"

static void * copy(const void * from, size_t bytes, void * old) {
    free(old);
    return memcpy(malloc(bytes), from, bytes);
}

enum vattn_status strict_drive(struct layer * l, const struct vattn_input * in, struct vattn_call ** out,
                               struct strict_start * start) {
    enum vattn_status status = vattn_call_begin(l->plan, in, l->work, l->work_bytes, out);
    struct vattn_call * c = *out;
    *start = (struct strict_start){0};
    for (int32_t n; status == VATTN_STATUS_OK && (n = vattn_call_next(c)) > 0;) {
        if (c->phase == VATTN_PHASE_GATHER) {
            size_t ld = (size_t)c->strict->ld;
            start->look = c->strict->groups[0].looks;
            start->scores = copy(c->strict->scores, (size_t)l->options.n_heads * ld * sizeof(float), start->scores);
            start->known = copy(c->strict->known, ld / 8, start->known);
            start->sure = copy(c->strict->sure, ld / 8, start->sure);
        }
        for (int32_t t = 0; t < n; t++) {
            vattn_call_task(c, t);
        }
    }
    return status == VATTN_STATUS_OK ? vattn_call_end(c) : status;
}

void strict_start_free(struct strict_start * start) {
    free(start->scores);
    free(start->known);
    free(start->sure);
}

double strict_score(const struct layer * l, int32_t h, int64_t row) {
    int32_t d = l->options.head_dim, g = h / (l->options.n_heads / l->options.n_kv_heads);
    const float * k = l->k32 + ((size_t)row * (size_t)l->options.n_kv_heads + (size_t)g) * (size_t)d;
    double s = 0.0;
    for (int32_t a = 0; a < d; a++) {
        s += (double)l->q[h * d + a] * (double)k[a];
    }
    return s * (double)l->options.scale * VATTN_LOG2E;
}

/* 2^24 times the piecewise linear 2^x, clamped to [0, 1]. */
static double units(double x) {
    double whole = floor(x);
    return x >= 0.0 ? VATTN_PROB_ONE : trunc(VATTN_PROB_ONE * exp2(whole) * (1.0 + x - whole));
}

/* pi of a row in units of 2^-24. */
static double probability(const struct layer * l, const struct vattn_call * c, const struct strict_start * start,
                          int64_t row) {
    const struct vattn_strict * s = c->strict;
    const uint8_t * reach = vattn_index_reach(l->index, 0, row);
    double key = -126.0, value = -126.0;
    if (((unsigned)start->sure[row / 16] >> (row % 16) & 1U) != 0) {
        return VATTN_PROB_ONE;
    }
    for (int32_t h = 0; h < l->options.n_heads; h++) {
        const struct vattn_strict_head * head = &s->heads[h];
        double proxy = (double)start->scores[(size_t)h * (size_t)s->ld + (size_t)row], up = (double)head->bound.slack;
        if (!vattn_bit(start->known, row)) {
            up += fmin((double)head->bound.residual * (double)s->tables[0].reach.residual[reach[0]],
                       (double)head->bound.unlikely * (double)s->tables[0].reach.unlikely[reach[1]]);
        }
        key = fmax(key, proxy + fmax(up - (double)head->floor_t, -(double)head->share_t));
        value = fmax(value, strict_score(l, h, row) + (double)head->bound.exact - fmin((double)head->floor_t, (double)head->share_t));
    }
    double at = (double)s->tables[0].log2_value[reach[2]], p = fmax(VATTN_PROB_ONE >> 10, units(key + at));
    return fmin(p, fmax(floor(p / 16.0), units(value + at)));
}

static bool drawn(const struct vattn_call * c, int32_t look, int64_t row, double p) {
    const struct vattn_options * o = &c->plan->opt;
    const uint32_t counter[4] = {
        (uint32_t)(row / 4), (uint32_t)c->in.nonce, (uint32_t)(c->in.nonce >> 32),
        vattn_random_stream((enum vattn_random_domain)(VATTN_RANDOM_STRICT + look), c->in.layer, 0)};
    const uint32_t key[2] = {(uint32_t)o->seed, (uint32_t)(o->seed >> 32)};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return p == VATTN_PROB_ONE || (double)(word[row & 3] >> 8) < p;
}

static double distance(const struct layer * l, int64_t row, const double * o, const float * center) {
    double sum = 0.0;
    for (int32_t a = 0; a < l->options.v_dim; a++) {
        double x =
            (double)l->v32[(size_t)row * (size_t)l->options.v_dim + (size_t)a] - (o != NULL ? o[a] : (double)center[a]);
        sum += x * x;
    }
    return sqrt(sum);
}

/* |o| and |o - center| */
static double length(const double * o, const float * center, int32_t n) {
    double sum = 0.0;
    for (int32_t a = 0; a < n; a++) {
        double x = o[a] - (center != NULL ? (double)center[a] : 0.0);
        sum += x * x;
    }
    return sqrt(sum);
}

/* The bound: crude first, then fine between |o^ - o| = x |o^| and the crude one. */
static double bound(const struct layer * l, const struct vattn_call * c, int32_t h, const struct strict_twin * t,
                    const double * pi, const double * share) {
    const struct vattn_strict_head * head = &c->strict->heads[h];
    const float * center = c->strict->centers + (size_t)h * (size_t)l->options.v_dim;
    double lambda = exp2(head->log2_lambda + t->log2_d), off = length(t->o, center, l->options.v_dim);
    double allowed = c->plan->x * length(t->o, NULL, l->options.v_dim), sum[3] = {0};
    for (int64_t r = 0; r < l->kv.n_keys; r++) {
        if (pi[r] > 0.0) {
            sum[0] += vattn_price(lambda * share[r] * hypot(distance(l, r, NULL, center), head->within), pi[r]);
        }
    }
    double crude = vattn_price_radius((head->crude_level + sum[0]) / lambda, off, head->within);
    if (!(off + crude <= head->within)) {
        return INFINITY;
    }
    for (int64_t r = 0; r < l->kv.n_keys; r++) {
        if (pi[r] > 0.0) {
            sum[1] += vattn_price(lambda * share[r] * (distance(l, r, t->o, NULL) + allowed), pi[r]);
            sum[2] += vattn_price(lambda * share[r] * (distance(l, r, t->o, NULL) + crude), pi[r]);
        }
    }
    double radius = (head->level + sum[1]) / lambda;
    return radius <= allowed && head->level + sum[2] < lambda * crude ? radius : INFINITY;
}

void strict_twin_look(const struct layer * l, const struct vattn_call * c, const struct strict_start * start, int32_t h,
                      struct strict_twin * t) {
    const struct vattn_strict_head * head = &c->strict->heads[h];
    const float * center = c->strict->centers + (size_t)h * (size_t)l->options.v_dim;
    int32_t dv = l->options.v_dim;
    int64_t n = l->kv.n_keys;
    double *share = malloc((size_t)n * sizeof *share), *pi = malloc((size_t)n * sizeof *pi), d = 0.0;
    *t = (struct strict_twin){.o = calloc((size_t)dv, sizeof *t->o)};
    for (int64_t r = 0; r < n; r++) {
        double p = probability(l, c, start, r), s = strict_score(l, h, r);
        double z = exp2(head->log2_lambda + s) * (distance(l, r, NULL, center) + head->within);
        t->room = p < VATTN_PROB_ONE ? fmax(t->room, (1.0 - p / VATTN_PROB_ONE) * exp(z)) : t->room;
        pi[r] = drawn(c, start->look, r, p) ? p / VATTN_PROB_ONE : 0.0;
        share[r] = exp2(s);
        if (pi[r] > 0.0) {
            t->rows++;
            d += share[r] / pi[r];
            for (int32_t a = 0; a < dv; a++) {
                t->o[a] += share[r] / pi[r] * (double)l->v32[(size_t)r * (size_t)dv + (size_t)a];
            }
        }
    }
    t->log2_d = log2(d);
    for (int32_t a = 0; a < dv; a++) {
        t->o[a] /= d;
    }
    for (int64_t r = 0; r < n; r++) {
        share[r] /= d;
        double y = pi[r] > 0.0 ? share[r] / pi[r] * distance(l, r, t->o, NULL) : 0.0;
        t->v += (1.0 - pi[r]) * y * y;
    }
    t->radius = bound(l, c, h, t, pi, share);
    free(share);
    free(pi);
}
