/* SPDX-License-Identifier: MIT
 *
 * libvattn - verified sparse attention for decoding over a long KV cache.
 *
 * Mental model, in the order in which a program meets it:
 *
 *   plan    what shall be computed: shapes, method, (eps, delta), scope.  Immutable, shared by all threads.
 *   index   a small transform code of the keys of ONE layer (all KV heads), built from the cache and the
 *           second moment of the queries.  Kept up to date by the owner of the cache.
 *   state   the controller of one layer: what earlier steps taught about variances.  Plain memory, copyable.
 *   call    one query token of one layer.  Lives in scratch memory of the caller and is driven as a small
 *           state machine (vattn_call_next / vattn_call_task), so that any number of threads can work on it.
 *
 * The promise of a sparse call, per query head h (scope "head"), for fixed q, K, V, over the sampler's draws alone:
 *
 *     Pr( head h is answered from a sample  AND  ||out_h - o_h||_2 > eps * ||o_h||_2 )  <=  delta
 *     o_h = sum_i p_i v_i,   p = softmax(scale * <q_h, k_i>),   i over the visible keys
 *
 * up to f32 rounding.  A head whose promise cannot be kept is computed exactly.  docs/statistics.md has the rule.
 *
 * Conventions: shapes are written slowest index first; strides are in bytes; nothing here prints, exits, locks or
 * starts threads; only *_create and vattn_index_calibrate allocate.  Query head h reads KV head h / (n_heads / n_kv_heads).
 */
#ifndef VATTN_H
#define VATTN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VATTN_VERSION_MAJOR 0
#define VATTN_VERSION_MINOR 1
#define VATTN_VERSION_PATCH 0

#if defined(__GNUC__)
#define VATTN_API __attribute__((visibility("default")))
#else
#define VATTN_API
#endif

/* 0: the promise was kept.  > 0: the output is valid, read the certificate.  < 0: nothing useful was done. */
enum vattn_status {
    VATTN_STATUS_OK = 0,
    VATTN_STATUS_UNCERTIFIED = 1,       /* a head was answered, but its promise is not shown */
    VATTN_STATUS_INVALID_ARGUMENT = -1, /* shapes, strides, ranges or pointers do not fit together */
    VATTN_STATUS_UNSUPPORTED = -2,      /* well formed, but not implemented (ALiBi, soft-cap, sinks) */
    VATTN_STATUS_NO_MEMORY = -3,        /* an allocation failed, or the scratch handed over is too small */
    VATTN_STATUS_NOT_FINITE = -4,       /* a query, key or statistic is NaN or infinite */
    VATTN_STATUS_NOT_CALIBRATED = -5    /* the index has no code yet: call vattn_index_calibrate first */
};

/*
 * Types of K and V rows; the two may differ.
 *   F32, F16, BF16   elements one after the other, at any address
 *   Q8_0             ggml's blocks of 32 elements in 34 bytes: a scale in f16, then 32 int8; element = scale * int8.  Rows
 *                    have a multiple of 32 elements.  Everything promised is about the rows as stored, so it does not
 *                    cover what quantising them has lost.
 */
enum vattn_type { VATTN_TYPE_F32 = 0, VATTN_TYPE_F16 = 1, VATTN_TYPE_BF16 = 2, VATTN_TYPE_Q8_0 = 3 };
#define VATTN_TYPE_COUNT 4

enum vattn_method {
    VATTN_METHOD_EXACT = 0,         /* dense attention */
    VATTN_METHOD_SPARSE = 1,        /* ours: index, Poisson sample, certificate on the output */
    VATTN_METHOD_PAPER_D = 2,       /* the paper's: a selector's rows + uniform sample, denominator controlled */
    VATTN_METHOD_SPARSE_STRICT = 3, /* ours, with a bound that is proven for every sample and every key; its index must be
                                     * made with a plan of this method and be up to date, else the promise is void */

    /* What libvattn is compared with.  Outputs of these carry no promise. */
    VATTN_METHOD_PAPER_N = 4,    /* as PAPER_D, numerator controlled */
    VATTN_METHOD_PAPER_SDPA = 5, /* as PAPER_D, output controlled through both, with the best split of eps and delta */
    VATTN_METHOD_HUB = 6,        /* as PAPER_D, as its published code behaves */
    VATTN_METHOD_SINK_WINDOW = 7,
    VATTN_METHOD_TOPK_ORACLE = 8,
    VATTN_METHOD_TOPP_ORACLE = 9,
    VATTN_METHOD_UNIFORM = 10,
    VATTN_METHOD_QUEST = 11,
    VATTN_METHOD_DOUBLE_SPARSITY = 12,
    VATTN_METHOD_PQ = 13,
    VATTN_METHOD_HASH = 14,
    VATTN_METHOD_MAGICPIG = 15,
    VATTN_METHOD_SOCKET = 16
};
#define VATTN_METHOD_COUNT 17

/* What (eps, delta) is promised about: each head of a call; all heads of a call together; or every head of every
 * layer of a decode step together (union bound over n_heads * n_layers). */
enum vattn_scope { VATTN_SCOPE_HEAD = 0, VATTN_SCOPE_LAYER = 1, VATTN_SCOPE_TOKEN = 2 };

/* How one head of one call was answered. */
enum vattn_answer {
    VATTN_ANSWER_EXACT = 0,      /* all visible rows were used */
    VATTN_ANSWER_CERTIFIED = 1,  /* from a sample that passed the certificate */
    VATTN_ANSWER_UNCERTIFIED = 2 /* finite output, promise not shown (methods that do not fall back) */
};

VATTN_API const char * vattn_version(void);
VATTN_API const char * vattn_status_name(enum vattn_status status);
VATTN_API const char * vattn_method_name(enum vattn_method method);
VATTN_API const char * vattn_scope_name(enum vattn_scope scope);

/* Parse "exact", "sparse", "paper-d", "quest", ... / "head", "layer", "token".  False and *out untouched on an unknown name. */
VATTN_API bool vattn_method_parse(const char * name, enum vattn_method * out);
VATTN_API bool vattn_scope_parse(const char * name, enum vattn_scope * out);

/* ------------------------------------------------------------------------------------------------------------ rows */

/* Bytes of a row of n elements; 0 where no such row exists (n < 1, an unknown type, n not a multiple of 32 with Q8_0). */
VATTN_API size_t vattn_row_bytes(enum vattn_type type, int32_t n);

/* A row as floats, exactly, and floats as a row: to nearest even, Q8_0 as ggml does it (scale = max |x| / 127 of a block
 * in f16; a block that is not finite gets a scale that is NaN).  n is such that vattn_row_bytes is not 0; the row may lie at any address. */
VATTN_API void vattn_row_read(enum vattn_type type, const void * row, int32_t n, float * x);
VATTN_API void vattn_row_write(enum vattn_type type, const float * x, int32_t n, void * row);

/* ------------------------------------------------------------------------------------------------------------ plan */

/* Zero means default wherever a default is given.  Set struct_size = sizeof(struct vattn_options). */
struct vattn_options {
    size_t struct_size;
    int32_t n_heads;      /* query heads */
    int32_t n_kv_heads;   /* must divide n_heads */
    int32_t head_dim;     /* 1..576: length of a q and k row */
    int32_t v_dim;        /* 1..576: length of a v row; 0 = head_dim */
    enum vattn_type k_type, v_type; /* Q8_0: head_dim or v_dim must be a multiple of 32 */
    float scale;          /* multiplies <q, k>; 0 = 1/sqrt(head_dim) */
    float logit_softcap;  /* must be 0 today */
    float max_alibi_bias; /* must be 0 today */
    bool has_sink_logits; /* must be false today */
    int64_t max_keys;     /* largest n_keys of any call, up to 2^31 - 1 */
    int32_t n_layers;     /* calls per decode step, for scope token; 0 = 1 */

    enum vattn_method method;
    enum vattn_scope scope;
    double eps;           /* relative error, 0 < eps < 1; default 0.05 */
    double delta;         /* probability of missing it, 0 < delta <= 0.5; default 0.05 */
    uint64_t seed;

    int32_t sink;         /* first visible rows that are always read; default 4, -1 = none */
    int32_t window;       /* last visible rows (by row number) that are always read; default 32, -1 = none */
    int32_t min_keys;     /* sparse calls with fewer visible keys are answered exactly; default 1024, -1 = never */
    double max_rows;      /* a KV head that would read more than this share of its rows is exact; default 0.5 */
    int32_t max_looks;    /* looks of the certificate before falling back; default 7; strict: at most 3, a pilot included */
    bool fastest;         /* answer a KV head exactly where a model of the kernels' times says that sampling takes longer;
                           * what it learns is kept in the state.  Choices depend on options, tier and input alone */
    double code_bits;     /* index bits per key dimension; default 2, strict: 4 */
    double escape;        /* share of keys whose code is never trusted, beside all far outliers; default 0.01 */

    double paper_topk;    /* paper-d: share of rows (<= 1) or number of rows (> 1) in the top-k; default 0.05 */
    double paper_base;    /* paper-d: base sample, likewise; default 0.01 */
    bool paper_shared;    /* paper-d, -n, -sdpa, hub, uniform: heads of a group draw along one random order of the rows, so that what one
                           * has read serves the others; each head's sample is the simple random one it would be alone */
    bool paper_by_scores; /* paper-d, -n, -sdpa: rows are drawn in proportion to 1 / (rows chosen for certain + rank by the selector's
                           * score) instead of uniformly; with paper_shared a head also uses the rows that others of its group read */

    uint32_t disabled_tiers; /* kernel tiers to leave out, see vattn_tiers_parse */
};

struct vattn_plan;

/*
 * vattn_plan_create() - check the options once and keep everything derived from them.
 * The plan copies *options.  One plan serves all layers of one shape and any number of threads.
 * Errors: INVALID_ARGUMENT, UNSUPPORTED, NO_MEMORY; *plan is NULL then, and if reason is not NULL it points to a
 * static sentence that names the field.
 */
VATTN_API enum vattn_status vattn_plan_create(const struct vattn_options * options, struct vattn_plan ** plan,
                                              const char ** reason);
VATTN_API void vattn_plan_free(struct vattn_plan * plan);

/* The options with every default filled in. */
VATTN_API const struct vattn_options * vattn_plan_options(const struct vattn_plan * plan);

/* Kernel tiers: parse a list such as "avx512,avx2,neon" into the mask disabled_tiers (false on an unknown name), and
 * the name of the tier that a plan uses. */
VATTN_API bool vattn_tiers_parse(const char * list, uint32_t * mask);
VATTN_API const char * vattn_plan_tier(const struct vattn_plan * plan);

/* --------------------------------------------------------------------------------------------------------- KV view */

/*
 * Rows of one layer's cache, not copied.  Row r of KV head g starts at k + g * k_head_stride + r * k_row_stride; the
 * elements of a row are contiguous.  Only rows [0, n_keys) with their bit set in `visible` take part.
 *   visible  bit (r & 63) of word r >> 6, ceil(n_keys / 64) words; NULL = all rows
 */
struct vattn_kv {
    const void * k;
    const void * v;
    size_t k_row_stride, k_head_stride;
    size_t v_row_stride, v_head_stride;
    int64_t n_keys;
    const uint64_t * visible;
};

/* ----------------------------------------------------------------------------------------------------------- index */

struct vattn_index;

/* Bytes that an index for `capacity` rows occupies once calibrated: codes, tables, lists, coverage, everything. */
VATTN_API size_t vattn_index_bytes(const struct vattn_plan * plan, int64_t capacity);

/* An empty, uncalibrated index of one layer; it keeps a pointer to the plan. */
VATTN_API enum vattn_status vattn_index_create(const struct vattn_plan * plan, int64_t capacity,
                                               struct vattn_index ** index);
VATTN_API void vattn_index_free(struct vattn_index * index);

/*
 * vattn_index_calibrate() - choose the transform code from keys and queries; forgets all encoded rows.
 *
 * Basis = eigenvectors of S^1/2 Cov(K) S^1/2 with S = E[q q'] + 0.3 tr/d I, bits by reverse water-filling.
 *   kv               its visible rows are sampled for mean and covariance (at least 64 of them)
 *   q_second_moment  [n_kv_heads][head_dim][head_dim] mean of q q' (q not multiplied by scale); NULL = identity
 * Allocates while it runs.  Different indexes may be calibrated at the same time.
 * Errors: NOT_FINITE, NO_MEMORY, INVALID_ARGUMENT; the index is uncalibrated then.
 */
VATTN_API enum vattn_status vattn_index_calibrate(struct vattn_index * index, const struct vattn_kv * kv,
                                                  const float * q_second_moment);
VATTN_API bool vattn_index_calibrated(const struct vattn_index * index);

/*
 * The same in parts, for threads: begin, every KV head once in any order (different heads at the same time, if you like),
 * end.  end: NOT_CALIBRATED unless every head was calibrated; nobody may use the index between begin and end.
 */
VATTN_API enum vattn_status vattn_index_calibrate_begin(struct vattn_index * index, const struct vattn_kv * kv);
VATTN_API enum vattn_status vattn_index_calibrate_head(struct vattn_index * index, const struct vattn_kv * kv,
                                                       const float * q_second_moment, int32_t kv_head);
VATTN_API enum vattn_status vattn_index_calibrate_end(struct vattn_index * index);

/*
 * vattn_index_encode() - (re)encode rows [begin, end) of all KV heads from the live cache, append and overwrite alike.
 * Threads may encode disjoint ranges at once if every range begins and ends at a multiple of 64 rows (or at the end);
 * nobody may run a call on the index meanwhile.  Rows that hold NaN or infinities stay uncovered.
 */
VATTN_API enum vattn_status vattn_index_encode(struct vattn_index * index, const struct vattn_kv * kv, int64_t begin,
                                               int64_t end);

/* Forget rows [begin, end): they are read exactly by every call until they are encoded again. */
VATTN_API void vattn_index_forget(struct vattn_index * index, int64_t begin, int64_t end);

/* Rows covered by codes in [begin, end). */
VATTN_API int64_t vattn_index_covered(const struct vattn_index * index, int64_t begin, int64_t end);

/* True if the codes of `row` are what encoding the live row would give, for all KV heads (false if not covered). */
VATTN_API bool vattn_index_row_current(const struct vattn_index * index, const struct vattn_kv * kv, int64_t row);

/* Check every invariant; kv may be NULL, else all covered rows are compared with it.  False and a static sentence. */
VATTN_API bool vattn_index_validate(const struct vattn_index * index, const struct vattn_kv * kv, const char ** reason);

/* ----------------------------------------------------------------------------------------------------------- state */

struct vattn_state;

VATTN_API size_t vattn_state_bytes(const struct vattn_plan * plan);
VATTN_API struct vattn_state * vattn_state_init(const struct vattn_plan * plan, void * memory);

/* ------------------------------------------------------------------------------------------------------------ call */

/* What one head of one call is entitled to claim. */
struct vattn_certificate {
    enum vattn_answer answer;
    int32_t rounds;        /* looks taken by the KV head (1 = first sample was enough; 0 = exact from the start) */
    int64_t n_keys;        /* visible keys */
    int64_t rows_kv;       /* distinct rows of the KV head whose K and V were read in full, for whatever reason */
    int64_t rows_k;        /* rows of which only K was read in full */
    int64_t bytes;         /* everything read for the KV head in this call: K, V, codes, side tables */
    float error;           /* estimated relative standard error of the output, 0 where exact */
    float bound;           /* claimed bound on ||out - o|| / ||o||, exceeded with probability delta at most; for a sample of
                            * method sparse 1.25 times what it says, within eps / 2 ... eps; 1e-5 exact, inf uncertified */
};

struct vattn_input {
    const struct vattn_kv * kv;
    const struct vattn_index * index; /* NULL for methods without an index; a sparse call without one is exact */
    const struct vattn_selector * selector; /* NULL, or see vattn_experimental.h: the methods libvattn is compared with */
    struct vattn_state * state;       /* NULL = cold controller, nothing learned; else read and updated */
    const float * q;                  /* [n_heads][head_dim], RoPE applied, not multiplied by scale */
    size_t q_head_stride;             /* bytes; 0 = contiguous */
    float * out;                      /* [n_heads][v_dim] */
    size_t out_head_stride;           /* bytes; 0 = contiguous */
    struct vattn_certificate * cert;  /* [n_heads] or NULL */
    uint64_t nonce;                   /* never the same twice for one (seed, layer): sequence and step counter */
    int32_t layer;                    /* 0..16383 */
};

struct vattn_call;

/* Scratch that any call of this plan needs, 64-byte aligned; one buffer per concurrent call. */
VATTN_API size_t vattn_call_bytes(const struct vattn_plan * plan);

/*
 * vattn_call_begin() - start one call in scratch memory; *input and what it points to must stay until the end.
 *
 * The call is a sequence of phases of independent tasks.  Threads drive it like this (a barrier after each phase):
 *
 *     while ((n = vattn_call_next(call)) > 0)     one thread
 *         for t in 0..n-1: vattn_call_task(call, t)   any threads, any order
 *     status = vattn_call_end(call)
 *
 * or, without barriers and with less waiting, every thread of a team runs vattn_call_work(call) once, and when all have
 * returned one of them calls vattn_call_end.  Results are bit-identical either way and for any number of threads on one
 * kernel tier.
 */
VATTN_API enum vattn_status vattn_call_begin(const struct vattn_plan * plan, const struct vattn_input * input,
                                             void * work, size_t work_bytes, struct vattn_call ** call);
VATTN_API int32_t vattn_call_next(struct vattn_call * call);
VATTN_API void vattn_call_task(struct vattn_call * call, int32_t task);
/* Works on the call until it is finished, beside any other threads that do the same.  A thread for which there is nothing
 * to do at the moment waits in a loop (and yields the processor now and then).  Not to be mixed with vattn_call_next. */
VATTN_API void vattn_call_work(struct vattn_call * call);

VATTN_API enum vattn_status vattn_call_end(struct vattn_call * call);

/* The whole call on the calling thread. */
VATTN_API enum vattn_status vattn_attend(const struct vattn_plan * plan, const struct vattn_input * input, void * work,
                                         size_t work_bytes);

/* ------------------------------------------------------------------------------------------------ partial results */

/*
 * Exact attention over a range of rows as a partial result that merges: shards, machines, CPU + GPU.
 * Layout of one head: float m (max score, log2 units), float d (sum of exp2(s - m)), float n[v_dim] (sum of
 * exp2(s - m) v).  The empty range is m = -inf, d = 0, n = 0.
 */
VATTN_API size_t vattn_partial_bytes(const struct vattn_plan * plan); /* all heads of a layer */
VATTN_API enum vattn_status vattn_partial_attend(const struct vattn_plan * plan, const struct vattn_kv * kv,
                                                 const float * q, int64_t begin, int64_t end, void * work,
                                                 size_t work_bytes, float * partial);
VATTN_API void vattn_partial_merge(const struct vattn_plan * plan, float * into, const float * from);
VATTN_API void vattn_partial_finish(const struct vattn_plan * plan, const float * partial, float * out,
                                    size_t out_head_stride);

#ifdef __cplusplus
}
#endif
#endif
