/* SPDX-License-Identifier: MIT
 *
 * The strict call: sparse attention whose bound is proven for every sample size (docs/statistics.md, "Strict mode").
 *
 *     look 0      a pilot drawn by the proxies: estimates of o and D for the design, promises nothing
 *     look r > 0  fixes a center a, lambda and probabilities from what earlier looks read, then draws with random
 *                 numbers of its own; every row that was read before is read for certain.  Given the past, its verdict is
 *                 wrong with probability alpha_r at most, and the alpha_r add up to delta.
 *
 * All probabilities satisfy  lambda |g_i| <= THETA pi_i  for every unread row, by certified upper bounds of its score.
 */
#ifndef VATTN_STRICT_H
#define VATTN_STRICT_H

#include "call/call.h"
#include "index/index.h"

#define VATTN_STRICT_LOOKS 3      /* at most, the pilot included */
#define VATTN_STRICT_THETA 0.8    /* of the largest lambda |g| / pi for which the price is finite */
#define VATTN_STRICT_HEADS 4      /* query heads of one judge task */
#define VATTN_STRICT_STRIP 256    /* rows at a time */
#define VATTN_STRICT_SAMPLE 1024  /* rows that the design of a later look works with */

/* |s - s^| <= min(residual * reach.residual, unlikely * reach.unlikely) + slack, log2 units; exact: rounding of a score that
 * was computed from its key. */
struct vattn_score_bound {
    float residual, unlikely, slack, exact;
};

/* One query head. */
struct vattn_strict_head {
    struct vattn_query_code code;
    struct vattn_score_bound bound;
    float floor_t; /* pi >= 2^(upper score + log2 value reach - floor_t); +inf in the pilot */
    float share_t; /* pi >= 2^(score + log2 value reach - share_t), score: proxy for keys, exact for values */
    /* of the coming look, fixed before it is drawn */
    double log2_lambda; /* for weights 2^score */
    double within;      /* distance of o from the center that the probabilities allow for */
    double level, crude_level; /* ln(2 / alpha) of the fine and the crude bound */
    double predicted;   /* prices that the design expects */
    /* of the last look */
    double log2_d, norm, from_mean; /* D, |o^|, |o^ - c| */
    double v, a0;       /* sum (1 - pi)/pi^2 (e/D)^2 |v - o^|^2 and without |v - o^|^2 */
    double crude, spent, spent_far; /* sums of prices: crude bound, fine bound at the allowed error, at the crude bound */
    double radius;      /* bound on |o^ - o|; infinity: none */
    int64_t draws;      /* rows with pi < 1 that were read */
    bool passed;
};

/* One row chunk of one KV head after GATHER. */
struct vattn_strict_chunk {
    int32_t n_rows; /* the sample: rows of which K and V were read */
    int32_t n_tail; /* of them with pi < 1, at the front of the list */
};

enum vattn_strict_state { VATTN_STRICT_OPEN, VATTN_STRICT_DONE, VATTN_STRICT_EXACT };

/* One KV head. */
struct vattn_strict_group {
    enum vattn_strict_state state;
    int32_t looks;
    int64_t rows_read;
};

/* Tables of one KV head. */
struct vattn_strict_tables {
    struct vattn_reach_tables reach;
    float log2_value[256]; /* log2 of the value reach about the center, an upper bound for every open head */
};

struct vattn_strict {
    int64_t chunk; /* rows per SCAN / GATHER task, multiple of 64 */
    int32_t n_chunks;
    int64_t ld;    /* rows rounded up to 64 */
    struct vattn_strict_head * heads;     /* [n_heads] */
    struct vattn_strict_group * groups;   /* [n_kv_heads] */
    struct vattn_strict_chunk * chunks;   /* [n_kv_heads][n_chunks] */
    struct vattn_strict_tables * tables;  /* [n_kv_heads] */
    int8_t * query_weights; /* [n_heads][head_dim] */
    uint16_t * visible;     /* [ld / 16] */
    uint16_t * sure;        /* [n_kv_heads][ld / 16] sinks, window, rows without a code, rows read at earlier looks */
    uint64_t * known;       /* [n_kv_heads][ld / 64] rows whose key was read: their score is exact */
    float * scores;         /* [n_heads][ld] proxies, exact where known; -inf where hidden or read for certain from the start */
    float * weights;        /* [n_heads][ld] e/pi of the rows read, compact per chunk; after JUDGE e/D of the tail */
    float * pull;           /* [n_heads][ld] same: e/D (|v - o^| + x |o^|) of the tail, after JUDGE */
    float * margin;         /* [n_kv_heads][ld] log2 pi of keys before clamping */
    int32_t * rows;         /* [n_kv_heads][ld + 64 n_chunks], per chunk from chunk * (chunk + 64) */
    int32_t * prob;         /* same: pi in units of 2^-24 */
    int32_t * draw;         /* same: u in units of 2^-24, -1 = read for certain */
    int32_t * keep;         /* same: positions that the second stage keeps */
    int8_t * no_bonus;      /* [chunk] zeros: value margins are in the scores */
    float * log2_sum;       /* [n_heads][n_chunks] log2 sum 2^(proxy + log2 value reach) */
    float * centers;        /* [n_heads][v_dim] a of the coming look */
    float * estimates;      /* [n_heads][v_dim] o^ of the last look */
    float * sample;         /* [n_kv_heads][3 group + 2][SAMPLE] the design's rows */
    float * partials;       /* [n_chunks][partial of all heads] */
};

static inline struct vattn_strict_chunk * vattn_strict_chunk(const struct vattn_strict * s, int32_t g, int32_t chunk) {
    return &s->chunks[(size_t)g * (size_t)s->n_chunks + (size_t)chunk];
}

static inline size_t vattn_strict_list(const struct vattn_strict * s, int32_t g, int32_t chunk) {
    return (size_t)g * (size_t)(s->ld + 64 * s->n_chunks) + (size_t)chunk * (size_t)(s->chunk + 64);
}

static inline int64_t vattn_strict_begin_row(const struct vattn_strict * s, int32_t chunk) {
    return (int64_t)chunk * s->chunk;
}

static inline int64_t vattn_strict_end_row(const struct vattn_call * c, int32_t chunk) {
    int64_t end = (int64_t)(chunk + 1) * c->strict->chunk;
    return end < c->in.kv->n_keys ? end : c->in.kv->n_keys;
}

static inline struct vattn_partial vattn_strict_partial(const struct vattn_call * c, int32_t chunk, int32_t head) {
    int32_t heads = c->plan->opt.n_heads, v_dim = c->plan->opt.v_dim;
    return vattn_partial_view(c->strict->partials + (size_t)chunk * vattn_partial_floats(heads, v_dim), heads, v_dim,
                              head);
}

/* Looks of a call of this plan: the pilot and those that may certify. */
int32_t vattn_strict_looks(const struct vattn_plan * plan);

/* alpha of look r >= 1; they add up to the delta of one head. */
double vattn_strict_alpha(const struct vattn_plan * plan, int32_t look);

/* layout.c */
struct vattn_strict * vattn_strict_layout(const struct vattn_plan * plan, struct vattn_scratch * s, int64_t n_keys);
void vattn_strict_begin(struct vattn_call * c);

/* bound.c: the certified distance of one query head's scores from its proxies; q times q_scale, weights already made. */
struct vattn_score_bound vattn_strict_bound(const struct vattn_call * c, int32_t g, const float * q,
                                            const struct vattn_query_code * code);

/* scan.c */
void vattn_strict_prepare(struct vattn_call * c, int32_t g);
void vattn_strict_scan(struct vattn_call * c, int32_t g, int32_t chunk);

/* design.c */
void vattn_strict_design(struct vattn_call * c, int32_t g);

/* gather.c */
void vattn_strict_gather(struct vattn_call * c, int32_t g, int32_t chunk);

/* judge.c */
void vattn_strict_judge(struct vattn_call * c, int32_t g, int32_t first, int32_t n);

/* finish.c */
void vattn_strict_decide(struct vattn_call * c, int32_t g); /* after a look: done, open or exact */
void vattn_strict_account(struct vattn_call * c, int32_t g, int64_t * rows_k, int64_t * bytes);
void vattn_strict_finish(struct vattn_call * c, int32_t g);
void vattn_strict_join(struct vattn_call * c);

#endif
