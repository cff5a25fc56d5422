/* SPDX-License-Identifier: MIT */
#include "select/pq.h"

#include <stdlib.h>

#include "select/kmeans.h"
#include "select/pack.h"
#include "select/rows.h"

/* ---------------------------------------------------------------------------------------------------------- build */

static void release(struct vattn_selector * s) {
    struct vattn_pq * p = s->state;
    if (p != NULL) {
        free(p->centroid);
        free(p->code);
        free(p);
    }
    s->state = NULL;
}

static int32_t centroids_of(const struct vattn_selector * s) {
    int32_t most = 1 << s->opt.pq_bits;
    return s->n_keys < most ? (int32_t)s->n_keys : most;
}

static enum vattn_status allocate(struct vattn_selector * s) {
    struct vattn_pq * p = s->state = calloc(1, sizeof *p);
    if (p == NULL) {
        return VATTN_STATUS_NO_MEMORY;
    }
    size_t groups = (size_t)s->plan->opt.n_kv_heads;
    p->n_centroids = centroids_of(s);
    p->code_bytes = vattn_pack_bytes(s->opt.pq_groups, s->opt.pq_bits);
    size_t elements = groups * (size_t)p->n_centroids * (size_t)s->plan->opt.head_dim;
    p->centroid = malloc(elements * sizeof *p->centroid);
    p->code = calloc(groups * (size_t)s->n_keys, p->code_bytes);
    s->index_bytes = elements * sizeof *p->centroid + groups * (size_t)s->n_keys * p->code_bytes;
    return p->centroid != NULL && p->code != NULL ? VATTN_STATUS_OK : VATTN_STATUS_NO_MEMORY;
}

/* Sub-vector j of the rows from `begin` on. */
static struct vattn_points points(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t g, int32_t j,
                                  int64_t begin) {
    struct vattn_rows k = vattn_k_rows(kv, g);
    k.base = (const char *)k.base + (size_t)begin * k.stride;
    k.n = (int32_t)(s->n_keys - begin);
    return (struct vattn_points){s->plan, k, vattn_pq_begin(s, j), vattn_pq_begin(s, j + 1) - vattn_pq_begin(s, j)};
}

/* Sinks are read anyway and lie far from the rest: centroids are found without them where rows abound. */
static int64_t first_row(const struct vattn_selector * s) {
    int64_t sink = s->plan->opt.sink > 0 ? s->plan->opt.sink : 0;
    return s->n_keys - sink > (1 << s->opt.pq_bits) ? sink : 0;
}

static bool quantise(struct vattn_selector * s, const struct vattn_kv * kv, int32_t g, int32_t j, uint16_t * code) {
    const struct vattn_pq * p = s->state;
    const struct vattn_points some = points(s, kv, g, j, first_row(s)), all = points(s, kv, g, j, 0);
    const uint32_t stream[2] = {(uint32_t)g, (uint32_t)j};
    float * centroid = vattn_pq_centroids(s, g, j);
    if (!vattn_kmeans(&some, p->n_centroids, s->opt.pq_iterations, s->opt.seed, stream, centroid)) {
        return false;
    }
    vattn_kmeans_assign(&all, centroid, p->n_centroids, code);
    for (int64_t r = 0; r < s->n_keys; r++) {
        vattn_pack(p->code + ((size_t)g * (size_t)s->n_keys + (size_t)r) * p->code_bytes,
                   (size_t)j * (size_t)s->opt.pq_bits, s->opt.pq_bits, code[r]);
    }
    return true;
}

static enum vattn_status build(struct vattn_selector * s, const struct vattn_kv * kv, const float * q_second_moment) {
    (void)q_second_moment;
    enum vattn_status status = allocate(s);
    uint16_t * code = calloc((size_t)s->n_keys, sizeof *code);
    status = code == NULL ? VATTN_STATUS_NO_MEMORY : status;
    for (int32_t g = 0; g < s->plan->opt.n_kv_heads && status == VATTN_STATUS_OK; g++) {
        status = vattn_keys_finite(s, kv, g) ? VATTN_STATUS_OK : VATTN_STATUS_NOT_FINITE;
        for (int32_t j = 0; j < s->opt.pq_groups && status == VATTN_STATUS_OK; j++) {
            status = quantise(s, kv, g, j, code) ? VATTN_STATUS_OK : VATTN_STATUS_NO_MEMORY;
        }
    }
    free(code);
    return status;
}

/* ---------------------------------------------------------------------------------------------------------- score */

/* The table [groups][n_centroids]. */
static size_t work_bytes(const struct vattn_selector * s) {
    return (size_t)s->opt.pq_groups * (size_t)centroids_of(s) * sizeof(float);
}

static void fill_table(const struct vattn_selector * s, int32_t g, const float * q, float * table) {
    const struct vattn_pq * p = s->state;
    for (int32_t j = 0; j < s->opt.pq_groups; j++) {
        int32_t begin = vattn_pq_begin(s, j), dim = vattn_pq_begin(s, j + 1) - begin;
        const struct vattn_rows rows = {
            .base = vattn_pq_centroids(s, g, j), .stride = (size_t)dim * sizeof(float), .n = p->n_centroids};
        s->plan->kern->score[VATTN_TYPE_F32](&rows, q + begin, 1, dim, table + (size_t)j * (size_t)p->n_centroids, p->n_centroids);
    }
}

static int64_t score_rows(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q,
                          int64_t n, float * score, void * work) {
    (void)kv;
    const struct vattn_pq * p = s->state;
    const int32_t g = head / s->plan->group, bits = s->opt.pq_bits;
    const uint8_t * code = p->code + (size_t)g * (size_t)s->n_keys * p->code_bytes;
    const float * table = work;
    fill_table(s, g, q, work);
    for (int64_t r = 0; r < n; r++) {
        float sum = 0.0F;
        for (int32_t j = 0; j < s->opt.pq_groups; j++) {
            uint32_t c = vattn_unpack(code + (size_t)r * p->code_bytes, (size_t)j * (size_t)bits, bits);
            sum += table[(size_t)j * (size_t)p->n_centroids + c];
        }
        score[r] = sum;
    }
    int64_t centroid_bytes = (int64_t)p->n_centroids * s->plan->opt.head_dim * (int64_t)sizeof(float);
    return vattn_selector_shared(s, head, centroid_bytes + n * (int64_t)p->code_bytes);
}

const struct vattn_selector_kind vattn_selector_pq = {
    .name = VATTN_METHOD_PQ,
    .cuts_rows = true,
    .build = build,
    .release = release,
    .work_bytes = work_bytes,
    .score = score_rows,
};
