/* SPDX-License-Identifier: MIT
 *
 * JUDGE: the second look at the rows that were drawn by chance, for up to four heads of one KV head.
 *
 *     o = N/D     x_i = sqrt(1 - pi)/pi e/D (v_i - o)     y_i = |x_i|^2     V = sum y_i = tr S,  S = sum x_i x_i'
 *
 * The rows are in cache from GATHER.  Nothing is computed by subtraction of large sums.
 */
#include "sparse/sparse.h"

#include <math.h>
#include <string.h>

#include "verify/sketch.h"

#define MAX_HEADS  VATTN_JUDGE_HEADS
#define CLEAR_NU   7.0
#define CLEAR_MISS 2.0 /* no number of degrees of freedom lowers the quantile by the square of this from that of CLEAR_NU */

/* o = N/D over all chunks; scale[chunk][i] = 2^(m_chunk - m) / D turns the chunk's weights into shares of D. */
static void estimate(struct vattn_call * c, int32_t head, float * o, double * d_out, float * m_out) {
    const struct vattn_sparse * s = c->sparse;
    int32_t v_dim = c->plan->opt.v_dim;
    float m = -INFINITY;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        struct vattn_partial p = vattn_sparse_partial(c, k, head);
        m = p.m[0] <= m ? m : p.m[0];
    }
    double d = 0.0;
    memset(o, 0, (size_t)v_dim * sizeof *o);
    for (int32_t k = 0; k < s->n_chunks; k++) {
        struct vattn_partial p = vattn_sparse_partial(c, k, head);
        if (p.m[0] == -INFINITY) {
            continue;
        }
        float f = exp2f(p.m[0] - m);
        d += (double)(f * p.d[0]);
        for (int32_t i = 0; i < v_dim; i++) {
            o[i] += f * p.n[i];
        }
    }
    for (int32_t i = 0; i < v_dim; i++) {
        o[i] = (float)(o[i] / d);
    }
    *d_out = d;
    *m_out = m;
}

/* root_j = +-sqrt(1 - pi) * (e/pi) / D of the tail rows of one chunk */
static void roots(const struct vattn_sparse * s, const int32_t * rows, const int32_t * prob, const float * weight,
                  int32_t n, float scale, float * root) {
    for (int32_t j = 0; j < n; j++) {
        float miss = (float)(VATTN_PROB_ONE - prob[j]) * (1.0F / VATTN_PROB_ONE);
        root[j] = vattn_sketch_sign(s->sign_key, rows[j]) * sqrtf(miss) * weight[j] * scale;
    }
}

static void add_evidence(struct vattn_evidence * e, const int32_t * prob, const float * root, const float * dist2,
                         int32_t n) {
    double v = 0.0, yy = 0.0, q = 0.0, a0 = 0.0;
    for (int32_t j = 0; j < n; j++) {
        double w = (double)root[j] * (double)root[j], y = w * (double)dist2[j];
        double miss = (double)(VATTN_PROB_ONE - prob[j]) * (1.0 / VATTN_PROB_ONE);
        v += y;
        yy += y * y;
        q += miss * y * y;
        a0 += w;
    }
    e->v += v;
    e->yy += yy;
    e->q += q;
    e->a0 += a0;
    e->draws += n;
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

static void read_sketch(const struct vattn_call * c, struct vattn_head * head, const float * bucket) {
    struct vattn_evidence * e = &head->evidence;
    bool needed = !decided(c->plan, e), small = c->plan->delta_head < VATTN_DELTA_SATTERTHWAITE;
    if (needed || c->keeps_claims) {
        head->claim_trace2 = vattn_sketch_trace2(c->plan->kern, bucket, c->plan->opt.v_dim, e->yy,
                                                 small ? &head->claim_top : NULL);
    }
    if (needed) {
        e->trace2 = head->claim_trace2;
        e->top = small ? head->claim_top : e->top;
    }
}

void vattn_sparse_judge(struct vattn_call * c, int32_t g, int32_t first, int32_t n) {
    struct vattn_sparse * s = c->sparse;
    int32_t v_dim = c->plan->opt.v_dim, head = g * c->plan->group + first;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    float * root = slot->judge_scratch + (size_t)(first / MAX_HEADS) * 2 * MAX_HEADS * (size_t)s->chunk;
    float * dist2 = root + MAX_HEADS * (size_t)s->chunk;
    float * o = s->estimates + (size_t)head * (size_t)v_dim;
    float * bucket = slot->buckets + (size_t)first * VATTN_BUCKETS * (size_t)v_dim;
    double d[MAX_HEADS];
    float m[MAX_HEADS];
    for (int32_t i = 0; i < n; i++) {
        estimate(c, head + i, o + (size_t)i * (size_t)v_dim, &d[i], &m[i]);
        s->heads[head + i].log2_d = m[i] + (float)log2(d[i]);
        s->heads[head + i].evidence = (struct vattn_evidence){.o2 = norm2(o + (size_t)i * (size_t)v_dim, v_dim)};
    }
    memset(bucket, 0, (size_t)n * VATTN_BUCKETS * (size_t)v_dim * sizeof *bucket);
    int32_t seen = 0;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        const struct vattn_chunk * chunk = vattn_sparse_chunk(s, g, k);
        const int32_t * rows = slot->rows + vattn_sparse_list(s, k);
        const int32_t * prob = slot->prob + vattn_sparse_list(s, k);
        struct vattn_rows v = vattn_v_rows(c->in.kv, g);
        v.index = rows;
        v.n = chunk->n_tail;
        if (v.n == 0) {
            continue;
        }
        for (int32_t i = 0; i < n; i++) {
            struct vattn_partial p = vattn_sparse_partial(c, k, head + i);
            const float * w = vattn_sparse_weights(c, head + i, k);
            roots(s, rows, prob, w, v.n, (float)((double)exp2f(p.m[0] - m[i]) / d[i]), root + (size_t)i * (size_t)s->chunk);
        }
        vattn_plan_deviation(c->plan, &v, o, root, (ptrdiff_t)s->chunk, n, seen, dist2, bucket);
        for (int32_t i = 0; i < n; i++) {
            add_evidence(&s->heads[head + i].evidence, prob, root + (size_t)i * (size_t)s->chunk,
                         dist2 + (size_t)i * (size_t)s->chunk, v.n);
        }
        seen += v.n;
    }
    for (int32_t i = 0; i < n; i++) {
        read_sketch(c, &s->heads[head + i], bucket + (size_t)i * VATTN_BUCKETS * (size_t)v_dim);
    }
}
