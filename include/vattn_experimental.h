/* SPDX-License-Identifier: MIT
 *
 * libvattn, what may still change: not covered by the promise that vattn.h stays compatible.
 */
#ifndef VATTN_EXPERIMENTAL_H
#define VATTN_EXPERIMENTAL_H

#include "vattn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the tasks handed out by the last vattn_call_next() do; for clocks and logs.
 *   scan      proxies from the codes, keys of the escape list
 *   design    thresholds and probabilities
 *   gather    reading rows, sampled or all
 *   estimate  variance, bound, verdict
 *   merge     partial results into outputs */
enum vattn_stage {
    VATTN_STAGE_NONE = 0,
    VATTN_STAGE_SCAN,
    VATTN_STAGE_DESIGN,
    VATTN_STAGE_GATHER,
    VATTN_STAGE_ESTIMATE,
    VATTN_STAGE_MERGE,
    VATTN_STAGE_COUNT
};

VATTN_API enum vattn_stage vattn_call_stage(const struct vattn_call * call);

/* -------------------------------------------------------------------------------------------------------- evidence */

/*
 * What the certificate of a sampled head rests on: the claim is that  max(0, ||out - o|| - bias)^2 / variance  has a
 * distribution no wider than Fisher's F with nu and 2 neff degrees of freedom (docs/statistics.md).
 */
struct vattn_claim {
    double variance; /* estimated E ||out - o||^2 */
    double norm;     /* ||out|| */
    double bias;     /* bound on the bias of the ratio, in units of ||out|| */
    double nu, neff; /* degrees of freedom; effective draws behind the variance */
    int64_t draws;   /* rows read by chance */
};

/* Right after vattn_call_begin(): complete the evidence of every head, also where the verdict does not need all of it. */
VATTN_API void vattn_call_keep_claims(struct vattn_call * call);

/* After the last phase of a call that keeps claims, until its scratch memory is used again: the evidence of one head, or
 * with head -1 that of the whole call (scope layer).  False where nothing was answered from a sample. */
VATTN_API bool vattn_call_claim(const struct vattn_call * call, int32_t head, struct vattn_claim * out);

/* After the last phase of a call, too: the natural logarithm of the head's (estimated) denominator
 * sum_i exp(scale <q, k_i>) over the visible rows.  False where nothing is visible. */
VATTN_API bool vattn_call_log_denominator(const struct vattn_call * call, int32_t head, double * log_d);

/* ------------------------------------------------------------------------------------------------------- selectors */

/*
 * A selector proposes which rows are read for certain: the indexes of the methods that libvattn is compared with.
 * It is built once over the rows of one layer, is read-only during calls, and is handed over in vattn_input.selector.
 */
struct vattn_selector;

/* Signatures sign(W3 silu(W2 silu(W1 x))) of one layer, as HashAttention's; row-major [out][in], biases may be NULL. */
struct vattn_hash_weights {
    int32_t n_layers; /* linear layers, 1..3 */
    int32_t width[4]; /* head_dim, hidden ..., bits (at most 64) */
    const float *k_weight[3], *k_bias[3]; /* [n_kv_heads][out][in], [n_kv_heads][out] */
    const float *q_weight[3], *q_bias[3]; /* [n_heads][out][in], [n_heads][out] */
};

/* Zero means the default of the publication or of its authors' code. */
struct vattn_selector_options {
    size_t struct_size;
    enum vattn_method kind;       /* TOPK_ORACLE ... SOCKET */
    double top_p;                 /* topp-oracle: share of the remaining mass; 0.9 */
    int32_t page;                 /* quest: rows of a page; 16 */
    int32_t group_factor;         /* double-sparsity: head_dim / group_factor channels; 16 */
    int32_t label_bits;           /* double-sparsity: bits of a channel; 4 */
    int32_t pq_groups, pq_bits, pq_iterations; /* pq: sub-vectors 2, bits of a centroid number 6, k-means steps 10 */
    int32_t hash_bits;            /* hash with random hyperplanes: 32 */
    const struct vattn_hash_weights * hash_weights; /* hash: NULL = random hyperplanes; copied */
    int32_t lsh_k, lsh_l, lsh_collisions;           /* magicpig: bits 10, tables 150, least collisions 2 */
    int32_t socket_k, socket_l;   /* socket: bits 10, tables 60 */
    double socket_tau;            /* socket: softness 0.3 */
    uint64_t seed;
};

/*
 * vattn_selector_create() - build the selector's index over the first kv->n_keys rows of every KV head.
 *   q_second_moment  as in vattn_index_calibrate; used by the kinds that calibrate channels; NULL = identity
 * Allocates.  Errors: INVALID_ARGUMENT, UNSUPPORTED (also QUEST, DOUBLE_SPARSITY and PQ for keys that are neither F32 nor
 * F16), NOT_FINITE, NO_MEMORY.
 */
VATTN_API enum vattn_status vattn_selector_create(const struct vattn_plan * plan, const struct vattn_kv * kv,
                                                  const struct vattn_selector_options * options,
                                                  const float * q_second_moment, struct vattn_selector ** selector);
VATTN_API void vattn_selector_free(struct vattn_selector * selector);

/* Bytes of the index it keeps; 0 for kinds that keep none. */
VATTN_API size_t vattn_selector_bytes(const struct vattn_selector * selector);

/* Scratch of a call that is given this selector, in place of vattn_call_bytes(). */
VATTN_API size_t vattn_selector_call_bytes(const struct vattn_plan * plan, const struct vattn_selector * selector);

#ifdef __cplusplus
}
#endif
#endif
