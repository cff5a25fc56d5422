/* SPDX-License-Identifier: MIT
 *
 * SOCKET (arXiv 2602.06283): soft collisions.  L tables hash the keys by the signs of K random projections each; a
 * query does not fall into one bucket but spreads over all of them:
 *
 *     u_b      = tanh(<w_b, q>) / sqrt(head_dim)                         b < K, for each table
 *     p(c)     = softmax over buckets c in {-1, 1}^K of sum_b u_b c_b / tau
 *              = prod_b 1 / (1 + exp(-2 u_b c_b / tau))
 *     score    = ||v|| sum_tables p(bucket of the key)
 *
 * As tau goes to 0 this counts tables in which key and query share a bucket, each with probability (1 - angle / pi)^K.
 */
#include <stdlib.h>

#include "select/hyperplanes.h"
#include "select/pack.h"
#include "select/rows.h"

enum { TILE = 256, MOST_BITS = 12 };

struct buckets {
    size_t code_bytes; /* of a row: L codes of K bits */
    float * plane;     /* [L][K][head_dim], shared by all KV heads */
    uint8_t * code;    /* [n_kv_heads][n][code_bytes], packed */
    float * norm;      /* [n_kv_heads][n] of the values */
};

static const float * planes(const struct vattn_selector * s, int32_t table) {
    const struct buckets * t = s->state;
    return t->plane + (size_t)table * (size_t)s->opt.socket_k * (size_t)s->plan->opt.head_dim;
}

static int64_t plane_bytes(const struct vattn_selector * s) {
    return (int64_t)s->opt.socket_l * s->opt.socket_k * s->plan->opt.head_dim * (int64_t)sizeof(float);
}

/* ---------------------------------------------------------------------------------------------------------- build */

static void release(struct vattn_selector * s) {
    struct buckets * t = s->state;
    if (t != NULL) {
        free(t->plane);
        free(t->code);
        free(t->norm);
        free(t);
    }
    s->state = NULL;
}

static enum vattn_status allocate(struct vattn_selector * s) {
    struct buckets * t = s->state = calloc(1, sizeof *t);
    if (t == NULL) {
        return VATTN_STATUS_NO_MEMORY;
    }
    size_t rows = (size_t)s->plan->opt.n_kv_heads * (size_t)s->n_keys;
    t->code_bytes = vattn_pack_bytes(s->opt.socket_l, s->opt.socket_k);
    t->plane = malloc((size_t)plane_bytes(s));
    t->code = calloc(rows, t->code_bytes);
    t->norm = malloc(rows * sizeof *t->norm);
    s->index_bytes = (size_t)plane_bytes(s) + rows * (t->code_bytes + sizeof *t->norm);
    return t->plane != NULL && t->code != NULL && t->norm != NULL ? VATTN_STATUS_OK : VATTN_STATUS_NO_MEMORY;
}

static bool measure_values(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t g) {
    const struct buckets * t = s->state;
    const struct vattn_rows v = vattn_v_rows(kv, g);
    float x[VATTN_MAX_DIM];
    bool finite = true;
    for (int64_t r = 0; r < s->n_keys; r++) {
        double square = 0.0;
        finite = vattn_row_floats(&v, r, s->plan->opt.v_type, 0, s->plan->opt.v_dim, x) && finite;
        for (int32_t d = 0; d < s->plan->opt.v_dim; d++) {
            square += (double)x[d] * (double)x[d];
        }
        t->norm[(size_t)g * (size_t)s->n_keys + (size_t)r] = (float)sqrt(square);
    }
    return finite;
}

/* Codes of rows [first, first + n) in one table. */
static void hash_tile(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t g, int32_t table,
                      int64_t first, int32_t n) {
    const struct buckets * t = s->state;
    const int32_t bits = s->opt.socket_k;
    struct vattn_rows k = vattn_k_rows(kv, g);
    uint8_t * code = t->code + ((size_t)g * (size_t)s->n_keys + (size_t)first) * t->code_bytes;
    float out[MOST_BITS * TILE];
    k.base = (const char *)k.base + (size_t)first * k.stride;
    k.n = n;
    vattn_plan_score(s->plan, &k, planes(s, table), bits, out, TILE);
    for (int32_t i = 0; i < n; i++) {
        uint32_t c = 0;
        for (int32_t b = 0; b < bits; b++) {
            c |= (uint32_t)(out[b * TILE + i] >= 0.0F) << b;
        }
        vattn_pack(code + (size_t)i * t->code_bytes, (size_t)table * (size_t)bits, bits, c);
    }
}

static bool has_values(const struct vattn_selector * s, const struct vattn_kv * kv) {
    size_t row = vattn_row_size(s->plan->opt.v_type, s->plan->opt.v_dim);
    return kv->v != NULL && (kv->n_keys == 1 || kv->v_row_stride >= row);
}

static enum vattn_status build(struct vattn_selector * s, const struct vattn_kv * kv, const float * q_second_moment) {
    (void)q_second_moment;
    if (!has_values(s, kv)) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    enum vattn_status status = allocate(s);
    if (status != VATTN_STATUS_OK) {
        return status;
    }
    const struct buckets * t = s->state;
    vattn_hyperplanes(s->opt.seed, s->opt.socket_l * s->opt.socket_k, s->plan->opt.head_dim, t->plane);
    for (int32_t g = 0; g < s->plan->opt.n_kv_heads; g++) {
        if (!vattn_keys_finite(s, kv, g) || !measure_values(s, kv, g)) {
            return VATTN_STATUS_NOT_FINITE;
        }
        for (int64_t r = 0; r < s->n_keys; r += TILE) { /* tables inside: the keys of a tile stay in the cache */
            int32_t n = (int32_t)(s->n_keys - r < TILE ? s->n_keys - r : TILE);
            for (int32_t table = 0; table < s->opt.socket_l; table++) {
                hash_tile(s, kv, g, table, r, n);
            }
        }
    }
    return VATTN_STATUS_OK;
}

/* ---------------------------------------------------------------------------------------------------------- score */

/* The buckets of one table. */
static size_t work_bytes(const struct vattn_selector * s) {
    return ((size_t)1 << s->opt.socket_k) * sizeof(float);
}

/* p of all buckets of one table. */
static void spread(const struct vattn_selector * s, int32_t table, const float * q, float * p) {
    const int32_t dim = s->plan->opt.head_dim;
    const struct vattn_rows rows = {
        .base = planes(s, table), .stride = (size_t)dim * sizeof(float), .n = s->opt.socket_k};
    float out[MOST_BITS];
    s->plan->kern->score[VATTN_TYPE_F32](&rows, q, 1, dim, out, MOST_BITS);
    p[0] = 1.0F;
    for (int32_t b = 0; b < s->opt.socket_k; b++) {
        double u = tanh((double)out[b]) / sqrt((double)dim);
        float set = (float)(1.0 / (1.0 + exp(-2.0 * u / s->opt.socket_tau)));
        float clear = (float)(1.0 / (1.0 + exp(2.0 * u / s->opt.socket_tau)));
        for (int32_t c = 0; c < 1 << b; c++) {
            p[c + (1 << b)] = p[c] * set;
            p[c] *= clear;
        }
    }
}

static int64_t score_rows(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q,
                          int64_t n, float * score, void * work) {
    (void)kv;
    const struct buckets * t = s->state;
    const int32_t g = head / s->plan->group, bits = s->opt.socket_k;
    const size_t first = (size_t)g * (size_t)s->n_keys;
    const float * p = work;
    for (int64_t r = 0; r < n; r++) {
        score[r] = 0.0F;
    }
    for (int32_t table = 0; table < s->opt.socket_l; table++) {
        spread(s, table, q, work);
        for (int64_t r = 0; r < n; r++) {
            const uint8_t * code = t->code + (first + (size_t)r) * t->code_bytes;
            score[r] += p[vattn_unpack(code, (size_t)table * (size_t)bits, bits)];
        }
    }
    for (int64_t r = 0; r < n; r++) {
        score[r] *= t->norm[first + (size_t)r];
    }
    int64_t row_bytes = (int64_t)(t->code_bytes + sizeof *t->norm);
    return vattn_selector_shared(s, head, plane_bytes(s) + n * row_bytes);
}

const struct vattn_selector_kind vattn_selector_socket = {
    .name = VATTN_METHOD_SOCKET,
    .build = build,
    .release = release,
    .work_bytes = work_bytes,
    .score = score_rows,
};
