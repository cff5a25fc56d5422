/* SPDX-License-Identifier: MIT
 *
 * In how many directions a head's error points: the vectors of S (see judge.c) of a few rows, each picked with its part of V.
 *
 * A pick is r = v - o or b = v - mu, in proportion to what the two are of the row's y; which of them is decided by carrying the
 * remainder from pick to pick, so that their numbers are right to within one.
 */
#include "sparse/sparse.h"

#include <math.h>

#include "base/random.h"
#include "base/sums.h"

struct picks {
    int32_t n, row[VATTN_PICKS], kind[VATTN_PICKS];
    float key2[VATTN_PICKS], off2[VATTN_PICKS];
};

/* Two uniforms of a head, independent of those that drew the rows. */
static void uniforms(const struct vattn_call * c, int32_t head, double u[2]) {
    uint64_t z = vattn_mix64(c->sparse->pick_key + (uint64_t)(uint32_t)head * UINT64_C(0x9E3779B97F4A7C15));
    u[0] = vattn_random_uniform((uint32_t)z);
    u[1] = vattn_random_uniform((uint32_t)(z >> 32));
}

static void pick_rows(const struct vattn_call * c, int32_t head, double u, struct picks * p) {
    const struct vattn_sparse * s = c->sparse;
    double step = s->heads[head].evidence.v / VATTN_PICKS, sum = 0.0, next = u * step;
    int32_t at[VATTN_PICKS];
    p->n = 0;
    if (!(step > 0.0 && isfinite(step))) {
        return;
    }
    for (int32_t k = 0; k < s->n_chunks; k++) {
        struct vattn_tail t = vattn_sparse_tail(s, head / c->plan->group, k);
        int32_t n = vattn_directions_pick(vattn_sparse_weights(c, head, k), t.n, step, &sum, &next, at, VATTN_PICKS - p->n);
        for (int32_t i = 0; i < n; i++, p->n++) {
            p->row[p->n] = t.rows[at[i]];
            p->kind[p->n] = t.kind[at[i]];
            p->key2[p->n] = t.key2[at[i]];
            p->off2[p->n] = t.off2[at[i]];
        }
    }
}

/* v - o and v - mu of the picks, to r and b. */
static void offsets(const struct vattn_call * c, int32_t head, const struct picks * p, float * r, float * b, float * b2) {
    static const float zero[VATTN_MAX_DIM] = {0}; /* a row of any type */
    static const int32_t first[VATTN_PICKS] = {0};
    int32_t g = head / c->plan->group, v_dim = c->plan->opt.v_dim;
    const float * o = c->sparse->estimates + (size_t)head * (size_t)v_dim;
    struct vattn_rows values = vattn_v_rows(c->in.kv, g), means = vattn_sparse_means(c, g);
    const struct vattn_rows nothing = {.base = zero, .stride = sizeof zero, .index = first, .n = p->n};
    values.index = p->row;
    means.index = p->kind;
    values.n = means.n = p->n;
    vattn_plan_offset(c->plan, &values, &nothing, b2, r);
    vattn_plan_offset(c->plan, &values, &means, b2, b);
    for (int32_t i = 0; i < p->n; i++) {
        for (int32_t a = 0; a < v_dim; a++) {
            r[i * v_dim + a] -= o[a];
        }
    }
}

/* x = r or b, of length 1, in the place of r. */
static void choose(const struct picks * p, float * r, const float * b, const float * b2, int32_t v_dim, double remainder) {
    for (int32_t i = 0; i < p->n; i++, r += v_dim, b += v_dim) {
        float r2 = vattn_dot(r, r, v_dim), key = p->key2[i] * r2;
        remainder += key + p->off2[i] > 0.0F ? (double)(key / (key + p->off2[i])) : 0.0;
        bool of_key = remainder >= 1.0;
        remainder -= of_key ? 1.0 : 0.0;
        const float * x = of_key ? r : b;
        float length2 = of_key ? r2 : b2[i], scale = length2 > 0.0F ? 1.0F / sqrtf(length2) : 0.0F;
        for (int32_t a = 0; a < v_dim; a++) {
            r[a] = x[a] * scale;
        }
    }
}

struct vattn_directions vattn_sparse_directions(const struct vattn_call * c, int32_t head, bool want_top, float * tile) {
    struct picks p;
    float *b = tile + (size_t)VATTN_PICKS * (size_t)c->plan->opt.v_dim, b2[VATTN_PICKS];
    double u[2];
    uniforms(c, head, u);
    pick_rows(c, head, u[0], &p);
    if (p.n > 0) {
        offsets(c, head, &p, tile, b, b2);
        choose(&p, tile, b, b2, c->plan->opt.v_dim, u[1]);
    }
    return vattn_directions_of(c->plan->kern, tile, p.row, p.n, c->plan->opt.v_dim, want_top);
}
