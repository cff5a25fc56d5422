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

#include "verify/sketch.h"

#define MAX_HEADS  VATTN_JUDGE_HEADS
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

/* The tail rows of one chunk. */
struct tail {
    const int32_t *rows, *prob, *kind;
    const float *key_root, *value_root, *off2;
    int32_t n;
};

static struct tail tail_of(const struct vattn_sparse * s, int32_t g, int32_t chunk) {
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    size_t at = vattn_sparse_list(s, chunk);
    return (struct tail){slot->rows + at, slot->prob + at, slot->kind + at, slot->key_root + at, slot->value_root + at, slot->off2 + at,
                         vattn_sparse_chunk(s, g, chunk)->n_tail};
}

/* root_j = +-sqrt(pi (1/pi1 - 1)) (e/pi) / D, or the other root */
static void roots(const float * share, const float * weight, int32_t n, float scale, float * root) {
    for (int32_t j = 0; j < n; j++) {
        root[j] = share[j] * weight[j] * scale;
    }
}

/* Rows one to four of a tail, from j on, into the sums v, v_keys, yy, q. */
static void add_four(const struct tail * t, const float * weight, double scale2, const float * root, const float * dist2, int32_t j,
                     int32_t n, double v[4], double v_keys[4], double yy[4], double q[4]) {
    for (int32_t i = 0; i < n; i++) {
        double key = (double)root[j + i] * (double)root[j + i] * (double)dist2[j + i];
        double value = scale2 * ((double)weight[j + i] * (double)weight[j + i]) * (double)t->off2[j + i];
        double miss = (double)(VATTN_PROB_ONE - t->prob[j + i]) * (1.0 / VATTN_PROB_ONE), y = key + value;
        v[i] += y;
        v_keys[i] += key;
        yy[i] += key * key + value * value;
        q[i] += miss * y * y;
    }
}

static double total(const double sum[4]) {
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

static void add_evidence(struct vattn_evidence * e, const struct tail * t, const float * weight, float scale, const float * root,
                         const float * dist2) {
    double v[4] = {0}, v_keys[4] = {0}, yy[4] = {0}, q[4] = {0}, scale2 = (double)scale * (double)scale;
    int32_t j = 0;
    for (; j + 4 <= t->n; j += 4) {
        add_four(t, weight, scale2, root, dist2, j, 4, v, v_keys, yy, q);
    }
    add_four(t, weight, scale2, root, dist2, j, t->n - j, v, v_keys, yy, q);
    e->v += total(v);
    e->v_keys += total(v_keys);
    e->yy += total(yy);
    e->q += total(q);
    e->draws += t->n;
}

static double norm2(const float * o, int32_t n) {
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++) {
        sum += (double)o[i] * (double)o[i];
    }
    return sum;
}

/*
 * The sketch is needed only where its answer matters: a head that passes with one degree of freedom passes with any,
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

/* Weights of the rows of one chunk for one head, and the factor that turns them into shares of D. */
static const float * weights_of(const struct vattn_call * c, int32_t head, int32_t chunk, double d, float m, float * scale) {
    *scale = (float)((double)exp2f(vattn_sparse_partial(c, chunk, head).m[0] - m) / d);
    return vattn_sparse_weights(c, head, chunk);
}

/* The sums of all heads. */
static void weigh_evidence(struct vattn_call * c, int32_t g, int32_t first, int32_t n, const double * d, const float * m,
                           float * root) {
    struct vattn_sparse * s = c->sparse;
    int32_t head = g * c->plan->group + first;
    float * dist2 = root + (size_t)s->chunk;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        struct tail t = tail_of(s, g, k);
        struct vattn_rows v = vattn_v_rows(c->in.kv, g);
        v.index = t.rows;
        v.n = t.n;
        if (v.n == 0) {
            continue;
        }
        vattn_plan_distance(c->plan, &v, s->estimates + (size_t)head * (size_t)c->plan->opt.v_dim, n, dist2, (ptrdiff_t)s->chunk);
        for (int32_t i = 0; i < n; i++) {
            float scale;
            const float * w = weights_of(c, head + i, k, d[i], m[i], &scale);
            roots(t.key_root, w, t.n, scale, root);
            add_evidence(&s->heads[head + i].evidence, &t, w, scale, root, dist2 + (size_t)i * (size_t)s->chunk);
        }
    }
}

/* The first part of S for one head: r, row after row in the next bucket. */
static void sketch_keys(struct vattn_call * c, int32_t g, int32_t i, double d, float m, float * root, float * bucket) {
    struct vattn_sparse * s = c->sparse;
    int32_t head = g * c->plan->group + i, seen = 0;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        struct tail t = tail_of(s, g, k);
        struct vattn_rows v = vattn_v_rows(c->in.kv, g);
        float scale;
        const float * w = weights_of(c, head, k, d, m, &scale);
        v.index = t.rows;
        v.n = t.n;
        roots(t.key_root, w, t.n, scale, root);
        vattn_plan_sketch(c->plan, &v, s->estimates + (size_t)head * (size_t)c->plan->opt.v_dim, root, (ptrdiff_t)s->chunk, 1, seen,
                          bucket);
        seen += v.n;
    }
}

/*
 * The second part, for all heads that need it: b of up to 64 rows at a time, written out.  Another bucket than that of r of the
 * same row.
 */
static void sketch_values(struct vattn_call * c, int32_t g, int32_t first, int32_t n, const bool * wanted, const double * d,
                          const float * m, float * tile) {
    struct vattn_sparse * s = c->sparse;
    size_t v_dim = (size_t)c->plan->opt.v_dim;
    float root[VATTN_OFF_TILE], dist2[VATTN_OFF_TILE], * zero = tile + VATTN_OFF_TILE * v_dim;
    memset(zero, 0, v_dim * sizeof *zero);
    int32_t seen = VATTN_BUCKETS / 2;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        struct tail t = tail_of(s, g, k);
        for (int32_t at = 0; at < t.n; at += VATTN_OFF_TILE) {
            struct vattn_rows values = vattn_v_rows(c->in.kv, g), means = vattn_sparse_means(c, g);
            struct vattn_rows x = {.base = tile, .stride = v_dim * sizeof *tile};
            x.n = values.n = means.n = t.n - at < VATTN_OFF_TILE ? t.n - at : VATTN_OFF_TILE;
            values.index = t.rows + at;
            means.index = t.kind + at;
            vattn_plan_offset(c->plan, &values, &means, dist2, tile);
            for (int32_t i = 0; i < n; i++) {
                float scale;
                const float * w = weights_of(c, g * c->plan->group + first + i, k, d[i], m[i], &scale);
                if (wanted[i]) {
                    roots(t.value_root + at, w + at, x.n, scale, root);
                    c->plan->kern->sketch[VATTN_TYPE_F32](&x, zero, root, VATTN_OFF_TILE, 1, (int32_t)v_dim, seen,
                                                          vattn_sparse_slot(s, g)->buckets + (size_t)(first + i) * VATTN_BUCKETS * v_dim);
                }
            }
            seen += x.n;
        }
    }
}

/* Both parts, of the heads that want them. */
static void sketch(struct vattn_call * c, int32_t g, int32_t first, int32_t n, const bool * wanted, const double * d, const float * m,
                   float * root, float * tile) {
    size_t floats = VATTN_BUCKETS * (size_t)c->plan->opt.v_dim;
    for (int32_t i = 0; i < n; i++) {
        float * bucket = vattn_sparse_slot(c->sparse, g)->buckets + (size_t)(first + i) * floats;
        if (wanted[i]) {
            memset(bucket, 0, floats * sizeof *bucket);
            sketch_keys(c, g, first + i, d[i], m[i], root, bucket);
        }
    }
    sketch_values(c, g, first, n, wanted, d, m, tile);
}

/* Which heads need the sketch, or are to tell what it says. */
static bool want_sketches(struct vattn_call * c, int32_t head, int32_t n, bool * needed, bool * wanted) {
    bool any = false;
    for (int32_t i = 0; i < n; i++) {
        needed[i] = !decided(c->plan, &c->sparse->heads[head + i].evidence);
        wanted[i] = needed[i] || c->keeps_claims;
        any = any || wanted[i];
    }
    return any;
}

static void read_sketch(const struct vattn_call * c, struct vattn_head * head, const float * bucket, bool needed) {
    struct vattn_evidence * e = &head->evidence;
    bool small = c->plan->delta_head < VATTN_DELTA_SATTERTHWAITE;
    head->claim_trace2 =
        vattn_sketch_trace2(c->plan->kern, bucket, c->plan->opt.v_dim, e->v, e->yy, small ? &head->claim_top : NULL);
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
    bool wanted[MAX_HEADS] = {false}, needed[MAX_HEADS] = {false};
    estimate(c, g, head, n, d, m, a0);
    for (int32_t i = 0; i < n; i++) {
        const float * o = s->estimates + (size_t)(head + i) * (size_t)v_dim;
        s->heads[head + i].log2_d = m[i] + (float)log2(d[i]);
        s->heads[head + i].evidence = (struct vattn_evidence){.o2 = norm2(o, v_dim), .a0 = a0[i]};
    }
    float * root = slot->judge_scratch + task * (MAX_HEADS + 1) * (size_t)s->chunk;
    weigh_evidence(c, g, first, n, d, m, root);
    if (want_sketches(c, head, n, needed, wanted)) {
        sketch(c, g, first, n, wanted, d, m, root, slot->judge_tile + task * (VATTN_OFF_TILE + 1) * (size_t)v_dim);
    }
    for (int32_t i = 0; i < n; i++) {
        if (wanted[i]) {
            read_sketch(c, &s->heads[head + i], slot->buckets + (size_t)(first + i) * VATTN_BUCKETS * (size_t)v_dim, needed[i]);
        }
    }
}
