/* SPDX-License-Identifier: MIT */
#include "select/magicpig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "select/hyperplanes.h"
#include "select/rows.h"

enum { TILE = 256, MOST_BITS = 16 };

struct tables {
    int32_t l, buckets; /* buckets: 2^K */
    float * plane;      /* [L K][head_dim], shared by all KV heads */
    float * center;     /* [n_kv_heads][head_dim] mean key */
    float * norm;       /* [n_kv_heads][n] of the centred keys */
    int32_t * start;    /* [n_kv_heads][L][buckets + 1] into rows */
    int32_t * rows;     /* [n_kv_heads][L][n] sorted by bucket */
};

double vattn_lsh_inclusion(double angle, int32_t k, int32_t l, int32_t collisions) {
    double c = pow(1.0 - angle / 3.141592653589793, k), few = 0.0;
    if (c >= 1.0) {
        return 1.0;
    }
    double term = pow(1.0 - c, l); /* of j = 0 */
    for (int32_t j = 0; j < collisions; j++) {
        few += term;
        term *= (double)(l - j) / (double)(j + 1) * c / (1.0 - c);
    }
    return few < 1.0 ? 1.0 - few : 0.0;
}

struct vattn_magicpig_query vattn_magicpig_query(const struct vattn_selector * s, int32_t kv_head, const float * q) {
    const struct tables * t = s->state;
    const float * center = t->center + (size_t)kv_head * (size_t)s->plan->opt.head_dim;
    struct vattn_magicpig_query query = {0.0, 0.0};
    for (int32_t d = 0; d < s->plan->opt.head_dim; d++) {
        query.norm += (double)q[d] * (double)q[d];
        query.center += (double)q[d] * (double)center[d];
    }
    query.norm = sqrt(query.norm);
    return query;
}

double vattn_magicpig_inclusion(const struct vattn_selector * s, int32_t kv_head, struct vattn_magicpig_query query,
                                int64_t row, double dot) {
    const struct tables * t = s->state;
    double size = query.norm * (double)t->norm[(size_t)kv_head * (size_t)s->n_keys + (size_t)row];
    double cosine = size > 0.0 ? fmax(-1.0, fmin(1.0, (dot - query.center) / size)) : 0.0;
    return vattn_lsh_inclusion(acos(cosine), s->opt.lsh_k, s->opt.lsh_l, s->opt.lsh_collisions);
}

/* ---------------------------------------------------------------------------------------------------------- build */

static void release(struct vattn_selector * s) {
    struct tables * t = s->state;
    if (t != NULL) {
        free(t->plane);
        free(t->center);
        free(t->norm);
        free(t->start);
        free(t->rows);
        free(t);
    }
    s->state = NULL;
}

static enum vattn_status allocate(struct vattn_selector * s) {
    const struct vattn_options * o = &s->plan->opt;
    size_t l = (size_t)s->opt.lsh_l, g = (size_t)o->n_kv_heads, n = (size_t)s->n_keys, dim = (size_t)o->head_dim;
    size_t planes = l * (size_t)s->opt.lsh_k * dim, buckets = (size_t)1 << s->opt.lsh_k;
    struct tables * t = s->state = calloc(1, sizeof *t);
    if (t == NULL) {
        return VATTN_STATUS_NO_MEMORY;
    }
    *t = (struct tables){.l = s->opt.lsh_l, .buckets = (int32_t)buckets,
                         .plane = malloc(planes * sizeof(float)), .center = malloc(g * dim * sizeof(float)),
                         .norm = malloc(g * n * sizeof(float)), .start = malloc(g * l * (buckets + 1) * sizeof(int32_t)),
                         .rows = malloc(g * l * n * sizeof(int32_t))};
    s->index_bytes = (planes + g * (dim + n + l * (buckets + 1 + n))) * 4;
    bool all = t->plane != NULL && t->center != NULL && t->norm != NULL && t->start != NULL && t->rows != NULL;
    return all ? VATTN_STATUS_OK : VATTN_STATUS_NO_MEMORY;
}

/* out[i][row] = <a_i, k_row> for rows [first, first + n). */
static void project(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t g, int64_t first, int32_t n,
                    const float * a, int32_t n_planes, float * out) {
    struct vattn_rows k = vattn_k_rows(kv, g);
    k.base = (const char *)k.base + (size_t)first * k.stride;
    k.n = n;
    vattn_plan_score(s->plan, &k, a, n_planes, out, TILE);
}

/* Mean of the keys between sinks and window (of all, if there are none), and the norms around it. */
static bool center_keys(struct vattn_selector * s, const struct vattn_kv * kv, int32_t g) {
    const struct vattn_options * o = &s->plan->opt;
    struct tables * t = s->state;
    int64_t begin = o->sink, end = s->n_keys - o->window;
    float * center = t->center + (size_t)g * (size_t)o->head_dim;
    float * norm = t->norm + (size_t)g * (size_t)s->n_keys;
    double sum[VATTN_MAX_DIM] = {0.0};
    float key[VATTN_MAX_DIM];
    bool finite = true;
    begin = begin < end ? begin : 0;
    end = begin < end ? end : s->n_keys;
    for (int64_t r = begin; r < end; r++) {
        vattn_key_floats(s, kv, g, r, key);
        for (int32_t d = 0; d < o->head_dim; d++) {
            sum[d] += (double)key[d];
        }
    }
    for (int32_t d = 0; d < o->head_dim; d++) {
        center[d] = (float)(sum[d] / (double)(end - begin));
        finite = finite && isfinite(center[d]);
    }
    for (int64_t r = 0; r < s->n_keys; r++) {
        double square = 0.0;
        finite = vattn_key_floats(s, kv, g, r, key) && finite;
        for (int32_t d = 0; d < o->head_dim; d++) {
            double x = (double)key[d] - (double)center[d];
            square += x * x;
        }
        norm[r] = (float)sqrt(square);
    }
    return finite;
}

/* Bucket of every key in one table. */
static void hash_keys(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t g, const float * a,
                      uint16_t * code) {
    const struct tables * t = s->state;
    int32_t bits = s->opt.lsh_k, dim = s->plan->opt.head_dim;
    const float * center = t->center + (size_t)g * (size_t)dim;
    float out[MOST_BITS * TILE], shift[MOST_BITS];
    for (int32_t b = 0; b < bits; b++) {
        double x = 0.0;
        for (int32_t d = 0; d < dim; d++) {
            x += (double)a[b * dim + d] * (double)center[d];
        }
        shift[b] = (float)x;
    }
    for (int64_t r = 0; r < s->n_keys; r += TILE) {
        int32_t n = (int32_t)(s->n_keys - r < TILE ? s->n_keys - r : TILE);
        project(s, kv, g, r, n, a, bits, out);
        for (int32_t i = 0; i < n; i++) {
            uint32_t c = 0;
            for (int32_t b = 0; b < bits; b++) {
                c |= (uint32_t)(out[b * TILE + i] > shift[b]) << b;
            }
            code[r + i] = (uint16_t)c;
        }
    }
}

/* Counting sort of the rows by bucket. */
static void fill_table(const uint16_t * code, int64_t n, int32_t buckets, int32_t * start, int32_t * rows) {
    memset(start, 0, ((size_t)buckets + 1) * sizeof *start);
    for (int64_t r = 0; r < n; r++) {
        start[code[r] + 1]++;
    }
    for (int32_t b = 0; b < buckets; b++) {
        start[b + 1] += start[b];
    }
    for (int64_t r = 0; r < n; r++) {
        rows[start[code[r]]++] = (int32_t)r;
    }
    for (int32_t b = buckets; b > 0; b--) { /* filling moved every start to its end */
        start[b] = start[b - 1];
    }
    start[0] = 0;
}

static enum vattn_status build(struct vattn_selector * s, const struct vattn_kv * kv, const float * q_second_moment) {
    (void)q_second_moment;
    enum vattn_status status = allocate(s);
    uint16_t * code = malloc((size_t)s->n_keys * sizeof *code);
    if (status != VATTN_STATUS_OK || code == NULL) {
        free(code);
        return VATTN_STATUS_NO_MEMORY;
    }
    struct tables * t = s->state;
    size_t planes = (size_t)s->opt.lsh_k * (size_t)s->plan->opt.head_dim;
    vattn_hyperplanes(s->opt.seed, t->l * s->opt.lsh_k, s->plan->opt.head_dim, t->plane);
    for (int32_t g = 0; g < s->plan->opt.n_kv_heads && status == VATTN_STATUS_OK; g++) {
        status = center_keys(s, kv, g) ? VATTN_STATUS_OK : VATTN_STATUS_NOT_FINITE;
        for (int32_t i = 0; i < t->l && status == VATTN_STATUS_OK; i++) {
            size_t at = (size_t)g * (size_t)t->l + (size_t)i;
            hash_keys(s, kv, g, t->plane + (size_t)i * planes, code);
            fill_table(code, s->n_keys, t->buckets, t->start + at * ((size_t)t->buckets + 1),
                       t->rows + at * (size_t)s->n_keys);
        }
    }
    free(code);
    return status;
}

/* ---------------------------------------------------------------------------------------------------------- score */

static size_t work_bytes(const struct vattn_selector * s) {
    (void)s;
    return 0;
}

static uint32_t hash_query(const float * a, int32_t bits, int32_t dim, const float * q) {
    uint32_t code = 0;
    for (int32_t b = 0; b < bits; b++) {
        float x = 0.0F;
        for (int32_t d = 0; d < dim; d++) {
            x += a[b * dim + d] * q[d];
        }
        code |= (uint32_t)(x > 0.0F) << b;
    }
    return code;
}

/* The number of tables in which a row collides with the query. */
static int64_t count_collisions(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q,
                                int64_t n, float * score, void * work) {
    (void)kv, (void)work;
    const struct tables * t = s->state;
    int32_t dim = s->plan->opt.head_dim, g = head / s->plan->group;
    size_t planes = (size_t)s->opt.lsh_k * (size_t)dim;
    int64_t bytes = vattn_selector_shared(s, head, (int64_t)t->l * (int64_t)planes * 4);
    memset(score, 0, (size_t)n * sizeof *score);
    for (int32_t i = 0; i < t->l; i++) {
        size_t at = (size_t)g * (size_t)t->l + (size_t)i;
        uint32_t code = hash_query(t->plane + (size_t)i * planes, s->opt.lsh_k, dim, q);
        const int32_t * start = t->start + at * ((size_t)t->buckets + 1) + code;
        const int32_t * rows = t->rows + at * (size_t)s->n_keys;
        for (int32_t j = start[0]; j < start[1]; j++) {
            if (rows[j] < n) {
                score[rows[j]] += 1.0F;
            }
        }
        bytes += 8 + 4 * (int64_t)(start[1] - start[0]);
    }
    return bytes;
}

const struct vattn_selector_kind vattn_selector_magicpig = {
    .name = VATTN_METHOD_MAGICPIG,
    .build = build,
    .release = release,
    .work_bytes = work_bytes,
    .score = count_collisions,
};
