/* SPDX-License-Identifier: MIT
 *
 * The sparse call: scan the codes, choose thresholds, draw and read rows, judge, top up, fall back.
 */
#ifndef VATTN_SPARSE_H
#define VATTN_SPARSE_H

#include "call/call.h"
#include "index/index.h"
#include "verify/certificate.h"

#define VATTN_JUDGE_HEADS 4 /* query heads of one judge task */

/* One query head. */
struct vattn_head {
    struct vattn_query_code code;
    float sigma2;      /* expected squared error of its proxy scores, log2 units */
    float reference;   /* largest score of the subsample: origin of its weights */
    float predicted;   /* variance of the current design by the subsample, in units of its weights */
    struct vattn_evidence evidence;
    double bound;      /* sqrt(c V) + |bias| of the last look */
    double need;       /* factor by which the variance must fall for this head to pass; <= 1 is a pass */
    bool passed;
};

/* One row chunk of one KV head after GATHER: rows drawn with pi < 1 come with their weights e/pi per head. */
struct vattn_chunk {
    int32_t n_rows;    /* rows read */
    int32_t n_tail;    /* of them with pi < 1, compacted to the front of rows/prob/weight */
    int32_t n_escaped; /* keys read for the escape list in SCAN */
};

enum vattn_group_state { VATTN_GROUP_OPEN, VATTN_GROUP_DONE, VATTN_GROUP_EXACT };

/* One KV head. */
struct vattn_group {
    enum vattn_group_state state;
    int32_t looks;
    int64_t rows_read;
};

struct vattn_sparse {
    int64_t chunk;          /* rows per SCAN / GATHER task, multiple of 64 */
    int32_t n_chunks;
    int64_t ld;             /* rows rounded up to 64: stride of scores */
    struct vattn_head * heads;   /* [n_heads] */
    struct vattn_group * groups; /* [n_kv_heads] */
    struct vattn_chunk * chunks; /* [n_kv_heads][n_chunks] */
    float * thresholds;          /* [n_heads] t: pi = 2^(score - t) before the maximum over the group */
    float * goals;               /* [n_heads] of a later look */
    int8_t * query_weights; /* [n_heads][head_dim] */
    uint16_t * visible;     /* [ld / 16] */
    uint16_t * sure;        /* [ld / 16] sinks, window, rows without a code */
    float * scores;         /* [n_heads][ld] proxies, log2 units */
    float * weights;        /* [n_heads][ld] e/pi of the rows read, compact per chunk */
    int32_t * rows;         /* [n_kv_heads][ld + 64 n_chunks] rows read, per chunk from chunk * (chunk + 64) */
    int32_t * prob;         /* same: pi in units of 2^-24 */
    float * sample;         /* [n_heads][sample_ld] subsample of the scores for the design */
    float * sample_w2;      /* [n_heads][sample_ld] squared proxy weights, 2^(2 (score - reference)) */
    int64_t sample_ld;
    int32_t * sample_n;     /* [n_kv_heads] */
    float * sample_scale;   /* [n_kv_heads] rows that a row of the subsample stands for */
    float * estimates;      /* [n_heads][v_dim] o of the last look */
    float * buckets;        /* [n_heads][32][v_dim] */
    float * judge_scratch;  /* [judge tasks][2][4][chunk] */
    float * partials;       /* [n_chunks][partial of all heads] */
    uint64_t sign_key;
};

static inline struct vattn_chunk * vattn_sparse_chunk(const struct vattn_sparse * s, int32_t g, int32_t chunk) {
    return &s->chunks[(size_t)g * (size_t)s->n_chunks + (size_t)chunk];
}

/* Offset of the row list of a chunk: lists have room for 64 entries more than rows. */
static inline size_t vattn_sparse_list(const struct vattn_sparse * s, int32_t g, int32_t chunk) {
    return (size_t)g * (size_t)(s->ld + 64 * s->n_chunks) + (size_t)chunk * (size_t)(s->chunk + 64);
}

static inline struct vattn_partial vattn_sparse_partial(const struct vattn_call * c, int32_t chunk, int32_t head) {
    int32_t heads = c->plan->opt.n_heads, v_dim = c->plan->opt.v_dim;
    return vattn_partial_view(c->sparse->partials + (size_t)chunk * vattn_partial_floats(heads, v_dim), heads, v_dim,
                              head);
}

static inline int64_t vattn_sparse_chunk_begin(const struct vattn_sparse * s, int32_t chunk) {
    return (int64_t)chunk * s->chunk;
}

static inline int64_t vattn_sparse_chunk_end(const struct vattn_call * c, int32_t chunk) {
    int64_t end = (int64_t)(chunk + 1) * c->sparse->chunk;
    return end < c->in.kv->n_keys ? end : c->in.kv->n_keys;
}

/* layout.c */
struct vattn_sparse * vattn_sparse_layout(const struct vattn_plan * plan, struct vattn_scratch * s, int64_t n_keys);
void vattn_sparse_begin(struct vattn_call * c);

/* scan.c */
void vattn_sparse_prepare(struct vattn_call * c, int32_t g);
void vattn_sparse_scan(struct vattn_call * c, int32_t g, int32_t chunk);

/* design.c */
void vattn_sparse_design(struct vattn_call * c, int32_t g);
void vattn_sparse_learn(struct vattn_call * c, int32_t g); /* what the finished call teaches the controller */

/* gather.c */
void vattn_sparse_gather(struct vattn_call * c, int32_t g, int32_t chunk);

/* judge.c */
void vattn_sparse_judge(struct vattn_call * c, int32_t g, int32_t first, int32_t n);

/* decide.c: after a look, which groups are done, open or exact; true if any is still open */
bool vattn_sparse_decide(struct vattn_call * c);
void vattn_sparse_finish(struct vattn_call * c, int32_t g);

#endif
