/* SPDX-License-Identifier: MIT */
#include "paper/scores.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/random.h"

/* Higher scores first, then lower rows; place holds the score here. */
static int by_score(const void * a, const void * b) {
    const struct vattn_ticket *x = a, *y = b;
    return x->place != y->place ? (x->place < y->place) - (x->place > y->place) : (x->row > y->row) - (x->row < y->row);
}

static int by_place(const void * a, const void * b) {
    const struct vattn_ticket *x = a, *y = b;
    return x->place != y->place ? (x->place > y->place) - (x->place < y->place) : (x->row > y->row) - (x->row < y->row);
}

/* Ranks of n sorted rows, behind `before` better ones. */
static void rank(struct vattn_ticket * t, int64_t n, int64_t before) {
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && t[end].place == t[i].place;) {
            end++;
        }
        for (int64_t j = i; j < end; j++) {
            t[j].rank = (double)before + 0.5 * (double)(i + 1 + end);
        }
    }
}

void vattn_scores_draw(struct vattn_head * h) {
    int64_t n = h->n - h->n_fixed;
    struct vattn_ticket * t = h->ticket;
    for (int64_t i = 0; i < n; i++) {
        int32_t row = h->list[h->n_fixed + i];
        t[i] = (struct vattn_ticket){.place = (double)h->proxy[row], .row = row};
    }
    qsort(t, (size_t)n, sizeof *t, by_score);
    rank(t, n, h->n_fixed);
    for (int64_t i = 0; i < n; i++) {
        t[i].place = vattn_random_uniform(vattn_paper_random(h, (uint32_t)t[i].row)) * t[i].rank;
    }
    qsort(t, (size_t)n, sizeof *t, by_place);
    for (int64_t i = 0; i < n; i++) {
        h->list[h->n_fixed + i] = t[i].row;
    }
}

/* The probability that row i of the tail is among the first b, given the places of all others. */
static double inclusion(const struct vattn_head * h, int64_t i, int64_t b) {
    if (b >= h->n - h->n_fixed) {
        return 1.0;
    }
    return fmin(1.0, h->ticket[i < b ? b : b - 1].place / h->ticket[i].rank);
}

void vattn_scores_measure(struct vattn_head * h, int64_t pilot) {
    int32_t dim = h->c->plan->opt.v_dim;
    float v[VATTN_MAX_DIM];
    vattn_paper_score(h, h->n_fixed + pilot);
    memset(h->sums, 0, ((size_t)dim + 1) * sizeof *h->sums);
    for (int64_t i = 0; i < h->n_fixed + pilot; i++) {
        int64_t drawn = i - h->n_fixed;
        double pi = drawn < 0 ? 1.0 : inclusion(h, drawn, pilot), e = vattn_paper_weight(h, i), norm2 = 0.0;
        vattn_paper_value(h, h->list[i], v);
        for (int32_t a = 0; a < dim; a++) {
            h->sums[a] += e / pi * (double)v[a];
            norm2 += (double)v[a] * (double)v[a];
        }
        h->sums[dim] += e / pi;
        if (drawn >= 0) {
            h->ticket[drawn].d2 = e * e / pi;
            h->ticket[drawn].n2 = e * e / pi * norm2;
        }
    }
}

struct vattn_spread vattn_scores_spread(const struct vattn_head * h, int64_t pilot, int64_t b) {
    int32_t dim = h->c->plan->opt.v_dim;
    double d2 = 0.0, n2 = 0.0, norm2 = 0.0;
    for (int64_t i = 0; i < pilot; i++) {
        double left_out = 1.0 / inclusion(h, i, b) - 1.0;
        d2 += left_out * h->ticket[i].d2;
        n2 += left_out * h->ticket[i].n2;
    }
    for (int32_t a = 0; a < dim; a++) {
        norm2 += h->sums[a] * h->sums[a];
    }
    return (struct vattn_spread){n2 > 0.0 ? sqrt(n2 / norm2) : 0.0, sqrt(d2) / h->sums[dim]};
}

void vattn_scores_weigh(struct vattn_head * h, int64_t b) {
    for (int64_t i = 0; i < b; i++) {
        h->inverse[h->n_fixed + i] = (float)(1.0 / inclusion(h, i, b));
    }
}

void vattn_scores_include(struct vattn_head * h) {
    int64_t b = h->result->budget;
    for (int64_t i = 0; i < h->n; i++) {
        float pi = i < h->n_fixed ? 1.0F : (float)inclusion(h, i - h->n_fixed, b);
        float * all = &h->inclusion[h->list[i]];
        *all = *all < pi ? pi : *all;
    }
}

void vattn_scores_pool(struct vattn_head * h) {
    int64_t used = 0;
    for (int64_t w = 0; w < vattn_words(h->c->in.kv->n_keys); w++) {
        for (uint64_t word = h->read[w]; word != 0; word &= word - 1) {
            int32_t row = (int32_t)(w * 64 + vattn_lowest(word));
            h->list[used] = row;
            h->inverse[used++] = 1.0F / h->inclusion[row];
        }
    }
    h->scored = 0;
    h->m = -INFINITY;
    vattn_paper_output(h, used);
}
