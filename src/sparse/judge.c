/* SPDX-License-Identifier: MIT
 *
 * JUDGE: the second look at the rows that were drawn by chance, for up to four heads of one KV head.
 *
 *     o = N/D     r_i = e_i/D (v_i - o)     b_i = e_i/D (v_i - mu_i), mu_i the mean of the kind of v_i
 *     S = sum over the rows read of 1/pi ((1/pi1 - 1) r r' + (1/pi - 1/pi1) b b')            V = tr S
 *
 * the first part is what drawing keys leaves open, the second what drawing values does.  The rows are in cache from GATHER.
 * Nothing is computed by subtraction of large sums.
 */
#include "sparse/sparse.h"

#include <math.h>
#include <string.h>

#include "base/sums.h"

#define MAX_HEADS  VATTN_JUDGE_HEADS
#define LEAST_V    0x1p-100F /* has an inverse */
#define CLEAR_NU   7.0
#define CLEAR_MISS 2.0 /* no number of degrees of freedom lowers the quantile by the square of this from that of CLEAR_NU */

/* N and D of the rows read and the weights of the kinds over all chunks, scaled to the largest m. */
static void add_chunks(const struct vattn_call * c, int32_t head, float m, float * n_out, float * stand_in, double * d, double * squares) {
    const struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, head / c->plan->group);
    int32_t v_dim = c->plan->opt.v_dim, n_kinds = vattn_sparse_kinds(c, head / c->plan->group), columns = vattn_sparse_columns(c);
    memset(n_out, 0, (size_t)v_dim * sizeof *n_out);
    memset(stand_in, 0, (size_t)n_kinds * sizeof *stand_in);
    *d = *squares = 0.0;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        struct vattn_partial p = vattn_sparse_partial(c, k, head);
        if (p.m[0] == -INFINITY) {
            continue;
        }
        size_t cell = (size_t)(head % c->plan->group) * (size_t)s->n_chunks + (size_t)k;
        const float * part = vattn_sparse_stand_in(c, head / c->plan->group, k) + head % c->plan->group;
        float f = exp2f(p.m[0] - m);
        *d += (double)(f * p.d[0]);
        *squares += (double)f * (double)f * (double)slot->key_squares[cell];
        for (int32_t i = 0; i < v_dim; i++) {
            n_out[i] += f * p.n[i];
        }
        for (int32_t i = 0; i < n_kinds; i++) {
            stand_in[i] += f * part[i * columns];
        }
    }
}

/* o = N/D of n heads of KV head g; a0 = sum (1 - pi1) (e/pi1)^2 / D^2 over all keys. */
static void estimate(const struct vattn_call * c, int32_t g, int32_t head, int32_t n, double * d, float * m, double * a0) {
    const struct vattn_sparse * s = c->sparse;
    int32_t v_dim = c->plan->opt.v_dim;
    float stand_in[MAX_HEADS * VATTN_MOST_KINDS], * o = s->estimates + (size_t)head * (size_t)v_dim;
    for (int32_t i = 0; i < n; i++) {
        double squares;
        m[i] = -INFINITY;
        for (int32_t k = 0; k < s->n_chunks; k++) {
            struct vattn_partial p = vattn_sparse_partial(c, k, head + i);
            m[i] = p.m[0] <= m[i] ? m[i] : p.m[0];
        }
        add_chunks(c, head + i, m[i], o + (size_t)i * (size_t)v_dim, stand_in + i * VATTN_MOST_KINDS, &d[i], &squares);
        a0[i] = squares / (d[i] * d[i]);
    }
    struct vattn_rows means = vattn_sparse_means(c, g);
    vattn_plan_accumulate(c->plan, &means, stand_in, VATTN_MOST_KINDS, n, o);
    for (int32_t i = 0; i < n * v_dim; i++) {
        o[i] = (float)(o[i] / d[i / v_dim]);
    }
}

/* Four rows of a tail from j on: y = share^2 (key2 |v - o|^2 + off2) in the place of their weights, what keys have of it in *key. */
static vattn_four parts_of_four(const struct vattn_tail * t, float * weight, float scale, const float * dist2, int32_t j, vattn_four * key) {
    const vattn_four share = vattn_load4(weight + j) * scale, share2 = share * share;
    *key = share2 * (vattn_load4(t->key2 + j) * vattn_load4(dist2 + j));
    const vattn_four y = *key + share2 * vattn_load4(t->off2 + j);
    vattn_store4(weight + j, y);
    return y;
}

static float lanes(vattn_four sum) {
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* y of all rows, their sum, and that of the keys' parts. */
static float parts(const struct vattn_tail * t, float * weight, float scale, const float * dist2, float * of_keys) {
    vattn_four sum = {0}, keys = {0}, key;
    int32_t j = 0;
    for (; j + 4 <= t->n; j += 4) {
        sum += parts_of_four(t, weight, scale, dist2, j, &key);
        keys += key;
    }
    for (int32_t i = 0; j < t->n; i++, j++) {
        const float share = weight[j] * scale, share2 = share * share, one = share2 * (t->key2[j] * dist2[j]);
        weight[j] = one + share2 * t->off2[j];
        sum[i] += weight[j];
        keys[i] += one;
    }
    *of_keys = lanes(keys);
    return lanes(sum);
}

/* sum z^2, and sum (1 - pi) z^2 in *missed, z = y / sum y: squares of y themselves may be below the least float. */
static float squares_of_parts(const struct vattn_tail * t, const float * y, float inverse, float * missed) {
    vattn_four sum = {0}, miss = {0};
    int32_t j = 0;
    for (; j + 4 <= t->n; j += 4) {
        const vattn_four z = vattn_load4(y + j) * inverse, zz = z * z;
        const int32_t * p = t->prob + j;
        const vattn_four pi = {(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
        sum += zz;
        miss += zz * (1.0F - pi * (1.0F / VATTN_PROB_ONE));
    }
    for (int32_t i = 0; j < t->n; i++, j++) {
        const float z = y[j] * inverse, zz = z * z;
        sum[i] += zz;
        miss[i] += zz * (1.0F - (float)t->prob[j] * (1.0F / VATTN_PROB_ONE));
    }
    *missed = lanes(miss);
    return lanes(sum);
}

static void add_evidence(struct vattn_evidence * e, const struct vattn_tail * t, float * weight, float scale, const float * dist2) {
    float of_keys, missed = 1.0F, v = parts(t, weight, scale, dist2, &of_keys);
    const double v2 = (double)v * (double)v;
    e->draws += t->n;
    e->yy += v >= LEAST_V ? v2 * (double)squares_of_parts(t, weight, 1.0F / v, &missed) : v2; /* at most v2 */
    e->q += v2 * (double)missed;
    e->v += (double)v;
    e->v_keys += (double)of_keys;
}

static double norm2(const float * o, int32_t n) {
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++) {
        sum += (double)o[i] * (double)o[i];
    }
    return sum;
}

/*
 * Picks are needed only where their answer matters: a head that passes with one degree of freedom passes with any,
 * one that fails with a usual number far beyond its bound fails (7 then serves to say by how much).
 */
static bool decided(const struct vattn_plan * plan, struct vattn_evidence * e) {
    if (plan->opt.scope == VATTN_SCOPE_LAYER || !(e->v > 0.0)) {
        return false;
    }
    e->trace2 = e->v * e->v;
    e->top = e->v;
    double allowed = vattn_evidence_allowed(e, plan->opt.eps);
    if (vattn_evidence_bound(e, &plan->quantile, plan->opt.v_dim, 1.0) <= allowed) {
        return true;
    }
    e->trace2 = e->v * e->v / CLEAR_NU;
    e->top = e->v / CLEAR_NU;
    return vattn_evidence_bound(e, &plan->quantile, plan->opt.v_dim, 1.0) > CLEAR_MISS * allowed;
}

/* The sums of all heads; the weights of the rows become their parts of V. */
static void weigh_evidence(struct vattn_call * c, int32_t g, int32_t first, int32_t n, const double * d, const float * m, float * dist2) {
    struct vattn_sparse * s = c->sparse;
    int32_t head = g * c->plan->group + first;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        struct vattn_tail t = vattn_sparse_tail(s, g, k);
        struct vattn_rows v = vattn_v_rows(c->in.kv, g);
        v.index = t.rows;
        v.n = t.n;
        if (v.n == 0) {
            continue;
        }
        vattn_plan_distance(c->plan, &v, s->estimates + (size_t)head * (size_t)c->plan->opt.v_dim, n, dist2, (ptrdiff_t)s->chunk);
        for (int32_t i = 0; i < n; i++) {
            float to_share = (float)((double)exp2f(vattn_sparse_partial(c, k, head + i).m[0] - m[i]) / d[i]);
            add_evidence(&s->heads[head + i].evidence, &t, vattn_sparse_weights(c, head + i, k), to_share, dist2 + (size_t)i * (size_t)s->chunk);
        }
    }
}

/* tr(S^2) and lambda_max from picks, if the verdict needs them, and for those who test claims in any case. */
static void look_at_directions(struct vattn_call * c, int32_t h, float * tile) {
    struct vattn_head * head = &c->sparse->heads[h];
    struct vattn_evidence * e = &head->evidence;
    bool needed = !decided(c->plan, e), small = c->plan->delta_head < VATTN_DELTA_SATTERTHWAITE;
    if (!needed && !c->keeps_claims) {
        return;
    }
    struct vattn_directions found = vattn_sparse_directions(c, h, small, tile);
    head->claim_trace2 = fmin(e->v * e->v, e->yy + (e->v * e->v - e->yy) * found.share);
    head->claim_top = e->v * found.top;
    if (needed) {
        e->trace2 = head->claim_trace2;
        e->top = small ? head->claim_top : e->top;
    }
}

void vattn_sparse_judge(struct vattn_call * c, int32_t g, int32_t first, int32_t n) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    int32_t v_dim = c->plan->opt.v_dim, head = g * c->plan->group + first;
    size_t task = (size_t)(first / MAX_HEADS);
    double d[MAX_HEADS], a0[MAX_HEADS];
    float m[MAX_HEADS];
    estimate(c, g, head, n, d, m, a0);
    for (int32_t i = 0; i < n; i++) {
        const float * o = s->estimates + (size_t)(head + i) * (size_t)v_dim;
        s->heads[head + i].log2_d = m[i] + (float)log2(d[i]);
        s->heads[head + i].evidence = (struct vattn_evidence){.o2 = norm2(o, v_dim), .a0 = a0[i]};
    }
    weigh_evidence(c, g, first, n, d, m, slot->judge_scratch + task * MAX_HEADS * (size_t)s->chunk);
    for (int32_t i = 0; i < n; i++) {
        look_at_directions(c, head + i, slot->judge_tile + task * 2 * VATTN_PICKS * (size_t)v_dim);
    }
}
