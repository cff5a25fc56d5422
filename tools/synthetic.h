/* SPDX-License-Identifier: MIT
 * Synthetic layers for timing: keys whose scores are normal (so that exp(score) is log-normal) and whose covariance
 * decays as that of real keys does, values around a common mean.  Rows lie as in the usual caches: all KV heads of a
 * token side by side.  Good for clocks, useless for statistics. */
#ifndef VATTN_TOOLS_SYNTHETIC_H
#define VATTN_TOOLS_SYNTHETIC_H

#include <stddef.h>
#include <stdint.h>
#include <vattn.h>

struct synthetic_shape {
    int32_t n_heads, n_kv_heads, head_dim;
    int64_t n_keys;
    enum vattn_type type;
    double score_sd; /* standard deviation of scale * <q, k> */
};

struct synthetic_layer {
    struct vattn_kv kv;
    void *k, *v; /* owned */
    float * q;   /* [n_heads][head_dim] */
};

size_t synthetic_layer_bytes(const struct synthetic_shape * shape); /* K and V */
struct synthetic_layer synthetic_layer_create(const struct synthetic_shape * shape, uint64_t seed, int threads);
void synthetic_layer_free(struct synthetic_layer * layer);

/* [n_kv_heads][head_dim][head_dim], the mean of q q' that the queries are drawn from; free() it. */
float * synthetic_second_moment(const struct synthetic_shape * shape);

/* Seconds to read K and V of a layer once. */
double synthetic_stream_seconds(const struct synthetic_shape * shape, const struct synthetic_layer * layer,
                                int threads);

/* Seconds to read about one row of K in `one_in` of every KV head, chosen at random, in the order of addresses; *bytes: how much that is. */
double synthetic_gather_seconds(const struct synthetic_shape * shape, const struct synthetic_layer * layer,
                                int32_t one_in, int threads, double * bytes);

#endif
