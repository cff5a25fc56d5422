/* SPDX-License-Identifier: MIT
 *
 * What libvattn is compared with: for every query head
 *
 *     F = sinks, window, and what a selector proposes;    T = all other visible rows, n_s of them
 *
 * and then one of these rules (rules.h).  Each head draws for itself, as in the publications, unless paper_shared says otherwise.
 *
 *     none      the output is softmax attention over F
 *     uniform   F = sinks and window; a simple random sample of T, every row of it weighted n_s / b
 *     paper-d, paper-n, paper-sdpa   the same, with a sample size that a pilot decides
 *     hub       the published code of vAttention
 *     magicpig  rows that collide with the query, each one weighted by the probability of that
 *
 * Nothing is claimed about the output: answers are "uncertified" unless all rows were read.
 * Baselines written to be read, not to be fast.
 */
#ifndef VATTN_PAPER_H
#define VATTN_PAPER_H

#include "call/call.h"
#include "select/selector.h"

/* What one head did: for tests, and for the estimate of the denominator. */
struct vattn_paper_head {
    int64_t n_fixed; /* rows of F */
    int64_t pilot;   /* rows of the pilot */
    int64_t budget;  /* rows of T in the sample, the pilot included; hub: draws with replacement */
    int64_t used;    /* distinct rows that the output is made of */
    bool exact;      /* all rows, each with weight 1 */
    double log2_d;   /* log2 of the estimate of sum exp(scale <q, k>) */
};

struct vattn_ticket;

struct vattn_paper {
    const struct vattn_selector * selector; /* NULL: none */
    struct vattn_selector oracle;           /* the one in use when the caller gave none */
    struct vattn_paper_head * heads;        /* [n_heads] */
    /* One slice per KV head, its query heads one after another: */
    int64_t ld;
    float * proxy;     /* [ld] the selector's scores by row number */
    float * score;     /* [ld] exact scores (log2 units) of the rows at the front of the list */
    float * inverse;   /* [ld] 1 / probability of those rows */
    int32_t * list;    /* [ld] visible rows: F first, then the sample, then the rest */
    int32_t * spare;   /* [ld] */
    uint64_t * read;   /* [ld / 64] rows whose K and V some head of the group read */
    uint64_t * peeked; /* [ld / 64] rows of which some head read K alone */
    double * sums;     /* [2 v_dim] */
    struct vattn_ticket * ticket; /* [ld] by_scores only, as is */
    float * inclusion;            /* [ld] */
    char * work;       /* [work_bytes] of the selector */
    size_t work_bytes;
};

/* Is it one of the methods above? */
bool vattn_paper_serves(enum vattn_method method);

/* The selector of the call (which may be NULL) is one that this plan's method can use. */
bool vattn_paper_selector_fits(const struct vattn_plan * plan, const struct vattn_selector * selector);

struct vattn_paper * vattn_paper_layout(const struct vattn_plan * plan, struct vattn_scratch * s, int64_t n_keys,
                                        const struct vattn_selector * selector);
void vattn_paper_group(struct vattn_call * c, int32_t g);

#endif
