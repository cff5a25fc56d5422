/* SPDX-License-Identifier: MIT
 *
 * One query head of a comparison method at work: lists of rows, their scores and weights.
 */
#ifndef VATTN_PAPER_HEAD_H
#define VATTN_PAPER_HEAD_H

#include <math.h>

#include "paper/paper.h"

struct vattn_head {
    struct vattn_call * c;
    const struct vattn_selector * selector; /* NULL: none */
    struct vattn_paper_head * result;
    int32_t head, kv_head;
    int64_t n;       /* visible rows */
    int64_t n_plain; /* sinks, window, rows that the selector does not cover: at the front of the list */
    int64_t n_fixed; /* F: those, and what was selected; the rest keeps the order of its row numbers */
    int64_t scored;  /* rows at the front of the list whose exact scores are known */
    float * proxy;
    float * score;
    float * inverse;
    int32_t * list;
    int32_t * spare;
    uint64_t * read;
    uint64_t * peeked;
    double * sums;
    struct vattn_ticket * ticket; /* by_scores: rows of T in the order of their places */
    float * inclusion;            /* by_scores: [n_keys] probability that some head of the group so far reads a row */
    void * work;
    double m;           /* largest of the known scores */
    int64_t index_bytes; /* read by the selector */
};

/* A share (up to 1) of n rows, or a number of rows; at most n. */
int64_t vattn_paper_count(double share_or_count, int64_t n);

/* The query as the caller gave it, not multiplied by the scale. */
const float * vattn_paper_query(const struct vattn_head * h);

/* select.c: the list, and F at its front. */
void vattn_paper_list(struct vattn_head * h);
void vattn_paper_proxies(struct vattn_head * h);
void vattn_paper_select_top_k(struct vattn_head * h, int64_t k); /* ties: lower row numbers first */
void vattn_paper_select_top_p(struct vattn_head * h, double top_p);
void vattn_paper_select_at_least(struct vattn_head * h, float least);

/* Visible rows in order, to `rows`. */
void vattn_paper_visible(const struct vattn_head * h, int32_t * rows);

/* Visible rows [sink, n - window) in order, to `rows`; returns how many. */
int64_t vattn_paper_middle(const struct vattn_head * h, int32_t * rows);

/* head.c: exact scores of the rows list[0 .. end), as far as they are not known. */
void vattn_paper_score(struct vattn_head * h, int64_t end);

/* exp2(score - m) of a list position. */
static inline double vattn_paper_weight(const struct vattn_head * h, int64_t i) {
    return exp2((double)h->score[i] - h->m);
}

/* Word i of this head's stream of random numbers for this call. */
uint32_t vattn_paper_random(const struct vattn_head * h, uint32_t i);

/* Extend the simple random sample of the rows behind F from `have` to `want` rows; it lies right behind F. */
void vattn_paper_draw(struct vattn_head * h, int64_t have, int64_t want);

/* One row of V as floats. */
void vattn_paper_value(const struct vattn_head * h, int32_t row, float * v);

/* out = sum_i w_i v_i / sum_i w_i, w_i = weight(i) inverse[i], over the rows list[0 .. used). */
void vattn_paper_output(struct vattn_head * h, int64_t used);

#endif
