/* SPDX-License-Identifier: MIT
 *
 * The sparse call: scan the codes, choose thresholds, draw and read rows, judge, top up, fall back.
 */
#ifndef VATTN_SPARSE_H
#define VATTN_SPARSE_H

#include <stdatomic.h>

#include "call/call.h"
#include "index/index.h"
#include "verify/certificate.h"
#include "verify/directions.h"

#define VATTN_JUDGE_HEADS 4 /* query heads of one judge task */
#define VATTN_SPARSE_TOGETHER 4 /* heads whose weights are kept side by side while kinds are tallied */

/* One query head. */
struct vattn_head {
    struct vattn_query_code code;
    float sigma;       /* expected error of its proxy scores, log2 units */
    float log2_sum;    /* log2 of the sum of all weights, as the proxies predict it */
    float output2;     /* ||o||^2 in units of v_rms^2, as predicted before anything is drawn */
    float predicted;   /* log2 of the variance that the subsample predicts, sum (1/pi - 1) 2^(2P) */
    float draws;       /* effective draws that it predicts */
    float unit;        /* log2 of V in units of v_rms^2 over what the design predicts */
    float goal;        /* of the design: predicted must not exceed it (log2) */
    float least;       /* of the design: draws must not fall below it */
    float cap;         /* of the design: t must not exceed it */
    float key_cap;     /* of the design: tk must not exceed it */
    float origin;      /* t for which the weights of the subsample were taken */
    float last_cap, last_key_cap; /* what the weight guard of the last look allows */
    struct vattn_evidence evidence;
    double claim_trace2, claim_top; /* where claims are kept: from picks, whether the verdict needed them or not */
    float log2_d;      /* log2 of D of the last look */
    double bound;      /* sqrt(c (V + bias^2)) of the last look */
    double fall;       /* factor by which the variance must fall for this head to pass; 1 where it is small enough */
    bool passed;
};

/* One row chunk of one KV head after GATHER. */
struct vattn_chunk {
    int32_t n_keys;    /* keys read */
    int32_t n_rows;    /* of them rows whose value was read too: the sample */
    int32_t n_tail;    /* of them with pi < 1, at the front of rows/prob/weight */
    int32_t n_escaped; /* keys read for the escape list in SCAN */
};

enum vattn_group_state { VATTN_GROUP_OPEN, VATTN_GROUP_DONE, VATTN_GROUP_EXACT };

/*
 * What one KV head needs while it is in work.  Slots change hands from KV head to KV head, so that what is written and
 * read again stays in the second-level cache of a core; a KV head that is done leaves nothing in them that is needed.
 * Lists are per chunk, from chunk * (rows of a chunk + 64) on.
 */
struct vattn_slot {
    float * scores;        /* [group][ld] proxies, log2 units */
    float * weights;       /* [group][ld] e/pi of the rows read, compact per chunk; after JUDGE y of those with pi < 1 */
    int32_t * rows;        /* [ld + 64 n_chunks] list of the rows read */
    int32_t * prob;        /* same: pi in units of 2^-24 */
    int32_t * draw;        /* same: u in units of 2^-24, -1 = always read */
    int32_t * keep;        /* same: positions that the second stage keeps */
    float * spare;         /* [VATTN_SPARSE_TOGETHER] times the same */
    float * inverse;       /* same: 1/pi1 of the keys read */
    int32_t * key_prob;    /* same: pi1, the probability of its key */
    int32_t * kind;        /* same: kinds of the values of the keys read; in GATHER's end of the rows with pi < 1 */
    float * key2;          /* same, rows with pi < 1: pi (1/pi1 - 1), times |v - o|^2 (e/pi)^2 what drawing keys adds to V */
    float * off2;          /* same: (1 - pi/pi1) |v - mu|^2, mu the mean of its kind: of drawing values */
    int8_t * list_bonus;   /* same: how far the values of the keys read are from their kinds */
    float * stand_in;      /* [n_chunks][VATTN_MOST_KINDS][columns] weights of the kinds' means: sum of e/pi1 less sum of e/pi */
    float * key_squares;   /* [group][n_chunks] sum (1 - pi1) (e/pi1)^2 over the keys read */
    float * judge_tile;    /* [judge tasks of a KV head][2 VATTN_PICKS][v_dim] */
    float * sample;        /* [group][sample_ld] subsample of scores + bonus, for the design */
    float * sample_w2;     /* [group][sample_ld] their squared weights, 2^(2 (P - t)) */
    float * judge_scratch; /* [judge tasks of a KV head][4][chunk]: distances */
    float * partials;      /* [n_chunks][partial of the group] */
};

/* One KV head. */
struct vattn_group {
    enum vattn_group_state state;
    bool scanned;
    bool has_slot;
    int32_t slot;      /* that it has, or had last */
    int32_t looks;
    float goal;        /* of the design in scope layer: log2 of V of all heads in units of v_rms^2 */
    int64_t rows_read;
    int64_t keys_read;
};

struct vattn_sparse {
    int64_t chunk;          /* rows per SCAN / GATHER task, multiple of 64 */
    int32_t n_chunks;
    int64_t ld;             /* rows rounded up to 64: stride of scores */
    struct vattn_head * heads;   /* [n_heads] */
    struct vattn_group * groups; /* [n_kv_heads] */
    struct vattn_chunk * chunks; /* [n_kv_heads][n_chunks] */
    float * thresholds;          /* [n_heads] t: pi = 2^(score - t) before the maximum over the group */
    float * key_thresholds;      /* [n_heads] tk: the same for reading keys */
    int8_t * query_weights; /* [n_heads][head_dim] */
    uint16_t * visible;     /* [ld / 16] */
    uint16_t * sure;        /* [ld / 16] sinks, window, rows without a code */
    struct vattn_slot * slots;         /* [n_kv_heads] */
    _Atomic(uint64_t) * free_slots;    /* [(n_kv_heads + 63) / 64] bits */
    char * mean_rows;       /* [n_kv_heads] rows: the mean value, for an index without kinds */
    float * sure_sum;       /* [n_heads] log2 of the weights of the rows that are always read */
    float * chunk_max;      /* [n_heads][n_chunks] largest proxy score */
    float * design_sums;    /* [n_heads][2] */
    int64_t sample_ld;
    int32_t * sample_n;     /* [n_kv_heads] */
    float * sample_scale;   /* [n_kv_heads] rows that a row of the subsample stands for */
    float * estimates;      /* [n_heads][v_dim] o of the last look */
    uint64_t pick_key;
    struct vattn_evidence layer; /* of the last look, scope layer */
};

static inline struct vattn_chunk * vattn_sparse_chunk(const struct vattn_sparse * s, int32_t g, int32_t chunk) {
    return &s->chunks[(size_t)g * (size_t)s->n_chunks + (size_t)chunk];
}

static inline const struct vattn_slot * vattn_sparse_slot(const struct vattn_sparse * s, int32_t g) {
    return &s->slots[s->groups[g].slot];
}

/* Offset of the row list of a chunk: lists have room for 64 entries more than rows. */
static inline size_t vattn_sparse_list(const struct vattn_sparse * s, int32_t chunk) {
    return (size_t)chunk * (size_t)(s->chunk + 64);
}

/* The rows of one chunk that were drawn by chance. */
struct vattn_tail {
    const int32_t *rows, *prob, *kind;
    const float *key2, *off2;
    int32_t n;
};

static inline struct vattn_tail vattn_sparse_tail(const struct vattn_sparse * s, int32_t g, int32_t chunk) {
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    size_t at = vattn_sparse_list(s, chunk);
    return (struct vattn_tail){slot->rows + at, slot->prob + at, slot->kind + at, slot->key2 + at, slot->off2 + at,
                               vattn_sparse_chunk(s, g, chunk)->n_tail};
}

/* Partial results of a chunk, from `head` on to the end of its group. */
static inline struct vattn_partial vattn_sparse_partial(const struct vattn_call * c, int32_t chunk, int32_t head) {
    int32_t group = c->plan->group, v_dim = c->plan->opt.v_dim;
    float * base = vattn_sparse_slot(c->sparse, head / group)->partials;
    return vattn_partial_view(base + (size_t)chunk * vattn_partial_floats(group, v_dim), group, v_dim, head % group);
}

/* Weights of the rows that a chunk read, of one head. */
static inline float * vattn_sparse_weights(const struct vattn_call * c, int32_t head, int32_t chunk) {
    const struct vattn_sparse * s = c->sparse;
    return vattn_sparse_slot(s, head / c->plan->group)->weights + (size_t)(head % c->plan->group) * (size_t)s->ld +
           (size_t)(chunk * s->chunk);
}

static inline int64_t vattn_sparse_chunk_begin(const struct vattn_sparse * s, int32_t chunk) {
    return (int64_t)chunk * s->chunk;
}

static inline int64_t vattn_sparse_chunk_end(const struct vattn_call * c, int32_t chunk) {
    int64_t end = (int64_t)(chunk + 1) * c->sparse->chunk;
    return end < c->in.kv->n_keys ? end : c->in.kv->n_keys;
}

/* Value bonus of the rows of KV head g from `row` on, eighths of log2 units. */
static inline const int8_t * vattn_sparse_bonus(const struct vattn_call * c, int32_t g, int64_t row) {
    return vattn_index_bonus(c->in.index, g) + row;
}

/* Heads of a group rounded up to fours: what stand_in holds side by side. */
static inline int32_t vattn_sparse_columns(const struct vattn_call * c) {
    return (c->plan->group + 3) / 4 * 4;
}

/* Weights of the kinds' means of one chunk. */
static inline float * vattn_sparse_stand_in(const struct vattn_call * c, int32_t g, int32_t chunk) {
    const size_t cells = VATTN_MOST_KINDS * (size_t)vattn_sparse_columns(c);
    return vattn_sparse_slot(c->sparse, g)->stand_in + (size_t)chunk * cells;
}

static inline int32_t vattn_sparse_kinds(const struct vattn_call * c, int32_t g) {
    const struct vattn_index * x = c->in.index;
    return x->kinds != NULL ? x->kinds[g].branches * x->kinds[g].leaves : 1;
}

/* The means of the kinds, rows of the type of the values; an index without kinds has one, the mean value. */
static inline struct vattn_rows vattn_sparse_means(const struct vattn_call * c, int32_t g) {
    const struct vattn_index * x = c->in.index;
    size_t row = vattn_row_size(c->plan->opt.v_type, c->plan->opt.v_dim);
    return (struct vattn_rows){.base = x->kinds != NULL ? x->kinds[g].mean : c->sparse->mean_rows + (size_t)g * row,
                               .stride = row,
                               .n = vattn_sparse_kinds(c, g)};
}

/* layout.c */
struct vattn_sparse * vattn_sparse_layout(const struct vattn_plan * plan, struct vattn_scratch * s, int64_t n_keys);
void vattn_sparse_begin(struct vattn_call * c);

/* slots.c: memory for a KV head from PREPARE to its end */
void vattn_sparse_free_slots(struct vattn_call * c); /* all, before the first one is taken */
void vattn_sparse_take_slot(struct vattn_call * c, int32_t g);
void vattn_sparse_leave_slot(struct vattn_call * c, int32_t g); /* nothing if it has none */

/* scan.c */
void vattn_sparse_prepare(struct vattn_call * c, int32_t g);
void vattn_sparse_scan(struct vattn_call * c, int32_t g, int32_t chunk);

/* forecast.c: denominators and outputs before anything is drawn; plain: [heads of the group][sample_ld], destroyed */
void vattn_sparse_forecast(struct vattn_call * c, int32_t g, float * plain);

/* design.c */
void vattn_sparse_design(struct vattn_call * c, int32_t g);
void vattn_sparse_learn(struct vattn_call * c, int32_t g); /* what the finished call teaches the controller */

/* pace.c: exact where sampling would take longer (option `fastest`) */
bool vattn_sparse_pauses(struct vattn_call * c, int32_t g);         /* exact from the start, this time */
bool vattn_sparse_too_slow(const struct vattn_call * c, int32_t g); /* after a design: exact instead of this look */
void vattn_sparse_lost(struct vattn_call * c, int32_t g);           /* it came to exact after a scan */
void vattn_sparse_compare(struct vattn_call * c, int32_t g);        /* answered from a sample: was it worth it? */
bool vattn_sparse_layer_pauses(struct vattn_call * c);              /* all KV heads */
void vattn_sparse_settle(struct vattn_call * c);                    /* after a call: was it worth it for all KV heads together? */

/* look-up.c: what the index says of the values of n rows of KV head g: how far they are from the means of their kinds, eighths of
 * log2 units of v_rms, and unless kind is NULL which kinds these are; an index without kinds has one, the mean value */
void vattn_sparse_look_up(const struct vattn_call * c, int32_t g, const int32_t * rows, int32_t n, int8_t * off, int32_t * kind);

/* tally.c: sum[kind[j] * columns + h] += weight[h * ld + j],  h < n_heads <= 4, j < n.  Columns from n_heads to 4 get something
 * of no use to anybody. */
void vattn_sparse_tally(const float * weight, ptrdiff_t ld, const int32_t * kind, int32_t n_heads, int32_t n, int32_t columns,
                        float * sum);

/* gather.c */
void vattn_sparse_gather(struct vattn_call * c, int32_t g, int32_t chunk);

/* judge.c */
void vattn_sparse_judge(struct vattn_call * c, int32_t g, int32_t first, int32_t n);

/* pick.c: of a head's errors, after its y stand in the place of its weights; tile: [2 VATTN_PICKS][v_dim] */
struct vattn_directions vattn_sparse_directions(const struct vattn_call * c, int32_t head, bool want_top, float * tile);

/* decide.c: after a look, is the group done, open or exact?  In scope layer all open groups together. */
void vattn_sparse_decide(struct vattn_call * c, int32_t g);
void vattn_sparse_decide_layer(struct vattn_call * c);
/* Guard C, log2 units: the largest t for an error of `allowed` v_rms, relative to log2 D, and by how much tk has to be below it.
 * Outputs far from the mean value get more after the first look (docs/statistics.md, "How much care keys need"). */
double vattn_sparse_cap(const struct vattn_call * c, double allowed);
double vattn_sparse_key_care(const struct vattn_call * c, int32_t h);
/* Rows of which only K was read, and all bytes read for a KV head by the sparse path. */
void vattn_sparse_account(struct vattn_call * c, int32_t g, int64_t * rows_k, int64_t * bytes);
void vattn_sparse_finish(struct vattn_call * c, int32_t g);

#endif
