/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "paper/rules.h"
#include "verify/quantile.h"

enum { TILE = 64 };

static const double OFFSET = 1e-6; /* added to every probability */

/* What has been done with a row; kept in the proxies, which are not needed any more. */
static const float UNTOUCHED = 0.0F, FIXED = 1.0F, PILOT = 2.0F, DRAWN = 4.0F;

/* Rows R, and the random numbers used so far. */
struct urn {
    const int32_t * rows;
    int64_t n;
    uint32_t next;
};

static int32_t take(const struct vattn_head * h, struct urn * urn) {
    uint64_t u = vattn_paper_random(h, urn->next++);
    return urn->rows[u * (uint64_t)urn->n >> 32];
}

/* exp2(score - m) of some rows, which are read for their keys alone. */
static void peek(struct vattn_head * h, const int32_t * rows, int32_t n, double * e) {
    const struct vattn_plan * plan = h->c->plan;
    struct vattn_rows k = vattn_k_rows(h->c->in.kv, h->kv_head);
    float score[TILE];
    k.index = rows;
    k.n = n;
    vattn_plan_score(plan, &k, h->c->q + (size_t)h->head * (size_t)plan->opt.head_dim, 1, score, TILE);
    for (int32_t i = 0; i < n; i++) {
        e[i] = exp2((double)score[i] - h->m);
        vattn_bit_set(h->peeked, rows[i]);
    }
}

struct pilot {
    double sum, squares; /* of e, repetitions included */
    double distinct;     /* sum of e over distinct rows */
};

static struct pilot look(struct vattn_head * h, struct urn * urn, int64_t b0) {
    struct pilot p = {0.0, 0.0, 0.0};
    for (int64_t done = 0; done < b0; done += TILE) {
        int32_t n = (int32_t)(b0 - done < TILE ? b0 - done : TILE), rows[TILE];
        double e[TILE];
        for (int32_t i = 0; i < n; i++) {
            rows[i] = take(h, urn);
        }
        peek(h, rows, n, e);
        for (int32_t i = 0; i < n; i++) {
            bool again = h->proxy[rows[i]] == PILOT || h->proxy[rows[i]] == FIXED + PILOT;
            h->proxy[rows[i]] += again ? 0.0F : PILOT;
            p.distinct += again ? 0.0 : e[i];
            p.sum += e[i];
            p.squares += e[i] * e[i];
        }
    }
    return p;
}

static int64_t budget(const struct vattn_head * h, struct pilot p, int64_t b0, int64_t n) {
    double d = 0.0, size = (double)n, draws = (double)b0;
    for (int64_t i = 0; i < h->n_fixed; i++) {
        d += vattn_paper_weight(h, i);
    }
    double sd = sqrt(fmax(0.0, (p.squares - p.sum * p.sum / draws) / (draws - 1.0)));
    double z = vattn_normal_two_sided(2.0 * h->c->plan->delta_head); /* one-sided */
    double b = z * sd * size / (h->c->plan->opt.eps * (d + size / draws * p.distinct));
    b = floor(b * b);
    return !(b < size) ? n : b < draws ? b0 : (int64_t)b;
}

static void mark_rows(struct vattn_head * h, const struct urn * urn) {
    for (int64_t i = 0; i < urn->n; i++) {
        h->proxy[urn->rows[i]] = UNTOUCHED;
    }
    for (int64_t i = 0; i < h->n_fixed; i++) {
        h->proxy[h->list[i]] = FIXED;
        h->inverse[i] = (float)(1.0 / (1.0 + OFFSET));
    }
}

/* b draws; rows outside F that were hit join the list once. */
static int64_t draw(struct vattn_head * h, struct urn * urn, int64_t b) {
    double probability = (double)b / (double)urn->n;
    int64_t used = h->n_fixed;
    for (int64_t i = 0; i < b; i++) {
        int32_t row = take(h, urn);
        float state = h->proxy[row];
        if (state == UNTOUCHED || state == PILOT) {
            h->proxy[row] = DRAWN;
            h->list[used] = row;
            h->inverse[used++] = (float)(1.0 / (probability + OFFSET));
        }
    }
    return used;
}

void vattn_rule_hub(struct vattn_head * h) {
    struct urn urn = {h->spare, vattn_paper_middle(h, h->spare), 0};
    if (h->n_fixed == h->n || urn.n < 2) { /* too few rows to draw from: all of them */
        h->n_fixed = h->n;
        vattn_rule_none(h);
        return;
    }
    double base = h->c->plan->opt.paper_base;
    int64_t b0 = (int64_t)(base <= 1.0 ? base * (double)urn.n : base);
    b0 = b0 < 2 ? 2 : b0 < urn.n ? b0 : urn.n;
    mark_rows(h, &urn);
    vattn_paper_score(h, h->n_fixed);
    if (h->m == -INFINITY) {
        h->m = 0.0; /* no row of F to compare with */
    }
    int64_t b = budget(h, look(h, &urn, b0), b0, urn.n);
    h->result->pilot = b0;
    h->result->budget = b;
    vattn_paper_output(h, draw(h, &urn, b));
}
