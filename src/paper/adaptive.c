/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "paper/budget.h"
#include "paper/rules.h"
#include "paper/scores.h"

static void weigh(struct vattn_head * h, int64_t from, int64_t to, double inverse) {
    for (int64_t i = from; i < to; i++) {
        h->inverse[i] = (float)inverse;
    }
}

void vattn_rule_none(struct vattn_head * h) {
    weigh(h, 0, h->n_fixed, 1.0);
    h->result->exact = h->n_fixed == h->n;
    vattn_paper_output(h, h->n_fixed);
}

static bool by_scores(const struct vattn_head * h) {
    return h->c->plan->opt.paper_by_scores;
}

static void draw(struct vattn_head * h, int64_t have, int64_t want) {
    if (!by_scores(h)) {
        vattn_paper_draw(h, have, want);
    } else if (have == 0) { /* all rows of T have their place then */
        vattn_scores_draw(h);
    }
}

/* F and the b rows behind it, which are drawn already. */
static void finish(struct vattn_head * h, int64_t b) {
    int64_t tail = h->n - h->n_fixed;
    h->result->budget = b;
    h->result->exact = b == tail;
    if (vattn_scores_pooled(h->c->plan)) { /* the output waits for what the other heads read */
        h->result->n_fixed = h->n_fixed;
        h->result->used = h->n_fixed + b;
        return;
    }
    weigh(h, 0, h->n_fixed, 1.0);
    if (by_scores(h)) {
        vattn_scores_weigh(h, b);
    } else {
        weigh(h, h->n_fixed, h->n_fixed + b, b > 0 ? (double)tail / (double)b : 1.0);
    }
    vattn_paper_output(h, h->n_fixed + b);
}

void vattn_rule_uniform(struct vattn_head * h, int64_t b) {
    int64_t tail = h->n - h->n_fixed;
    b = b < tail ? b : tail;
    vattn_paper_draw(h, 0, b);
    finish(h, b);
}

/* Sums over the pilot and over F, all relative to exp2(m). */
struct sums {
    double fixed, pilot, squares; /* e over F; e and e^2 over the pilot */
    double squared_norms;         /* |e v|^2 over the pilot */
    double *n_fixed, *n_pilot;    /* e v over F and over the pilot */
};

static void add_up(struct vattn_head * h, int64_t b0, struct sums * s) {
    for (int64_t i = 0; i < h->n_fixed + b0; i++) {
        double e = vattn_paper_weight(h, i);
        if (i < h->n_fixed) {
            s->fixed += e;
        } else {
            s->pilot += e;
            s->squares += e * e;
        }
    }
}

static void add_up_values(struct vattn_head * h, int64_t b0, struct sums * s) {
    int32_t dim = h->c->plan->opt.v_dim;
    float v[VATTN_MAX_DIM];
    memset(h->sums, 0, 2 * (size_t)dim * sizeof *h->sums);
    s->n_fixed = h->sums;
    s->n_pilot = h->sums + dim;
    for (int64_t i = 0; i < h->n_fixed + b0; i++) {
        double e = vattn_paper_weight(h, i), *to = i < h->n_fixed ? s->n_fixed : s->n_pilot;
        vattn_paper_value(h, h->list[i], v);
        for (int32_t a = 0; a < dim; a++) {
            double x = e * (double)v[a];
            to[a] += x;
            s->squared_norms += i < h->n_fixed ? 0.0 : x * x;
        }
    }
}

static struct vattn_spread spread_of(const struct vattn_head * h, int64_t pilot, const struct sums * s) {
    double n_s = (double)(h->n - h->n_fixed), b0 = (double)pilot, norm2 = 0.0, mean2 = 0.0;
    double variance = fmax(0.0, (s->squares - s->pilot * s->pilot / b0) / (b0 - 1.0));
    struct vattn_spread spread = {0.0, n_s * sqrt(variance) / (s->fixed + n_s / b0 * s->pilot)};
    if (s->n_fixed == NULL) {
        return spread;
    }
    for (int32_t a = 0; a < h->c->plan->opt.v_dim; a++) {
        double whole = s->n_fixed[a] + n_s / b0 * s->n_pilot[a];
        norm2 += whole * whole;
        mean2 += s->n_pilot[a] * s->n_pilot[a] / b0;
    }
    double trace = fmax(0.0, (s->squared_norms - mean2) / (b0 - 1.0));
    spread.n = trace > 0.0 ? n_s * sqrt(trace / norm2) : 0.0;
    return spread;
}

/* Rows with replacement that make errors of this size small enough. */
static double needed(const struct vattn_plan * plan, struct vattn_spread spread) {
    double eps = plan->opt.eps, delta = plan->delta_head;
    switch (plan->opt.method) {
    case VATTN_METHOD_PAPER_D:
        return vattn_budget_one(spread.d, eps, delta);
    case VATTN_METHOD_PAPER_N:
        return vattn_budget_one(spread.n, eps, delta);
    default:
        return vattn_budget_split(spread, eps, delta).b;
    }
}

static int64_t budget(struct vattn_head * h, int64_t pilot) {
    const struct vattn_plan * plan = h->c->plan;
    struct sums s = {0};
    vattn_paper_score(h, h->n_fixed + pilot);
    add_up(h, pilot, &s);
    if (plan->opt.method != VATTN_METHOD_PAPER_D) {
        add_up_values(h, pilot, &s);
    }
    return vattn_budget_rows(needed(plan, spread_of(h, pilot, &s)), pilot, h->n - h->n_fixed);
}

/* The fewest rows, the pilot's at least, whose errors as they stand (sizes of one draw) are small enough. */
static int64_t budget_by_scores(struct vattn_head * h, int64_t pilot) {
    int64_t low = pilot, high = h->n - h->n_fixed;
    vattn_scores_measure(h, pilot);
    while (low < high) {
        int64_t b = low + (high - low) / 2;
        if (needed(h->c->plan, vattn_scores_spread(h, pilot, b)) <= 1.0) {
            high = b;
        } else {
            low = b + 1;
        }
    }
    return low;
}

void vattn_rule_adaptive(struct vattn_head * h) {
    int64_t tail = h->n - h->n_fixed, pilot = vattn_paper_count(h->c->plan->opt.paper_base, h->n), b = tail;
    pilot = pilot < 2 ? 2 : pilot;
    if (pilot < tail) {
        h->result->pilot = pilot;
        draw(h, 0, pilot);
        b = by_scores(h) ? budget_by_scores(h, pilot) : budget(h, pilot);
        draw(h, pilot, b);
    }
    finish(h, b);
}
