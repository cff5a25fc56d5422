/* SPDX-License-Identifier: MIT
 *
 * PQCache (arXiv 2407.12820): product quantisation of the keys.  Elements [begin_j, begin_{j+1}) of a key, the sub-vector j of
 * m, are replaced by the nearest of 2^bits centroids, which k-means found among the keys of that KV head:
 *
 *     score = sum_j <q_j, centroid_j[code_j]>
 *
 * with the products <q_j, centroid> looked up in a table made once per query.
 */
#ifndef VATTN_PQ_H
#define VATTN_PQ_H

#include "select/selector.h"

struct vattn_pq {
    int32_t n_centroids; /* of a sub-vector: 2^bits, or the number of rows if that is less */
    size_t code_bytes;   /* of a row */
    float * centroid;    /* [n_kv_heads], then n_centroids x length for each sub-vector */
    uint8_t * code;      /* [n_kv_heads][n][code_bytes], packed */
};

/* Where sub-vector j begins; j = m is the end.  Lengths differ by one at most. */
static inline int32_t vattn_pq_begin(const struct vattn_selector * s, int32_t j) {
    return (int32_t)((int64_t)j * s->plan->opt.head_dim / s->opt.pq_groups);
}

/* Centroids of a sub-vector, [n_centroids][length]. */
static inline float * vattn_pq_centroids(const struct vattn_selector * s, int32_t g, int32_t j) {
    const struct vattn_pq * p = s->state;
    size_t elements = (size_t)g * (size_t)s->plan->opt.head_dim + (size_t)vattn_pq_begin(s, j);
    return p->centroid + elements * (size_t)p->n_centroids;
}

#endif
