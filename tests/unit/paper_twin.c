/* SPDX-License-Identifier: MIT */
#include "unit/paper_twin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/random.h"
#include "unit/layer.h"

struct work {
    const struct layer * l;
    const struct paper_case * which;
    struct paper_twin * t;
    int64_t n, first, last; /* rows of the cache; first and last of the rows that are neither sink nor window, by rank */
    int64_t * order;        /* visible rows */
    double * e;             /* exp(score - max), by row */
    char * fixed;           /* in F, by row */
    double * chance;        /* by scores: probability that the row is read, given the random numbers of all others */
    uint32_t next;          /* random numbers used */
};

static double element(const float * rows, const struct layer * l, int32_t dim, int64_t row, int32_t g, int32_t a) {
    return (double)rows[((size_t)row * (size_t)l->options.n_kv_heads + (size_t)g) * (size_t)dim + (size_t)a];
}

static int32_t kv_head(const struct work * w) {
    return w->which->head / (w->l->options.n_heads / w->l->options.n_kv_heads);
}

static double value(const struct work * w, int64_t row, int32_t a) {
    return element(w->l->v32, w->l, w->l->options.v_dim, row, kv_head(w), a);
}

static double dot(const struct work * w, int64_t row) {
    const struct vattn_options * o = &w->l->options;
    double s = 0.0;
    for (int32_t a = 0; a < o->head_dim; a++) {
        s += (double)w->l->q[w->which->head * o->head_dim + a] * element(w->l->k32, w->l, o->head_dim, row, kv_head(w), a);
    }
    return s;
}

static double normal_quantile(double upper) { /* P(Z > z) = upper */
    double low = 0.0, high = 40.0;
    for (int i = 0; i < 200; i++) {
        double mid = 0.5 * (low + high);
        if (0.5 * erfc(mid / sqrt(2.0)) > upper) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

static uint32_t random_word(const struct work * w, uint32_t i) {
    const struct vattn_options * o = &w->l->options;
    const uint32_t counter[4] = {i / 4, (uint32_t)w->which->nonce, (uint32_t)(w->which->nonce >> 32),
                                 vattn_random_stream(VATTN_RANDOM_UNIFORM, 0, o->paper_shared ? kv_head(w) : w->which->head)};
    const uint32_t key[2] = {(uint32_t)o->seed, (uint32_t)(o->seed >> 32)};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return word[i & 3];
}

static double random_number(struct work * w, int64_t range) { /* whole, in [0, range) */
    return floor(ldexp((double)random_word(w, w->next++), -32) * (double)range);
}

/* ------------------------------------------------------------------------------------------------------------- F */

static void start(struct work * w) {
    const struct vattn_options * o = &w->l->options;
    double max = -INFINITY;
    for (int64_t r = 0; r < w->n; r++) {
        if (w->l->kv.visible == NULL || vattn_bit(w->l->kv.visible, r)) {
            w->order[w->t->visible++] = r;
            w->e[r] = (double)o->scale * dot(w, r);
            max = fmax(max, w->e[r]);
        }
    }
    w->first = o->sink < w->t->visible ? o->sink : w->t->visible;
    w->last = w->t->visible - o->window > w->first ? w->t->visible - o->window : w->first;
    for (int64_t i = 0; i < w->t->visible; i++) {
        int64_t r = w->order[i];
        w->e[r] = exp(w->e[r] - max);
        w->fixed[r] = i < w->first || i >= w->last || r >= w->which->covered;
    }
    w->t->log_d = max;
}

static double relevance(const struct work * w, int64_t row) {
    return w->which->proxy != NULL ? (double)w->which->proxy[row] : w->e[row];
}

/* The k most relevant rows outside F, one after another; the first one among equals. */
static void top_k(struct work * w, int64_t k) {
    for (; k > 0; k--) {
        int64_t best = -1;
        for (int64_t i = 0; i < w->t->visible; i++) {
            int64_t r = w->order[i];
            if (!w->fixed[r] && (best < 0 || relevance(w, r) > relevance(w, best))) {
                best = r;
            }
        }
        if (best < 0) {
            return;
        }
        w->fixed[best] = 1;
    }
}

static void top_p(struct work * w, double p) {
    double rest = 0.0, sum = 0.0;
    for (int64_t i = 0; i < w->t->visible; i++) {
        rest += w->fixed[w->order[i]] ? 0.0 : w->e[w->order[i]];
    }
    while (sum < p * rest) {
        int64_t best = -1;
        for (int64_t i = 0; i < w->t->visible; i++) {
            int64_t r = w->order[i];
            if (!w->fixed[r] && (best < 0 || w->e[r] > w->e[best])) {
                best = r;
            }
        }
        if (best < 0) {
            return;
        }
        w->fixed[best] = 1;
        sum += w->e[best];
    }
}

static void count_fixed(struct work * w) {
    for (int64_t i = 0; i < w->t->visible; i++) {
        w->t->n_fixed += w->fixed[w->order[i]] != 0;
    }
}

/* --------------------------------------------------------------------------------------------------------- budgets */

/* Rows of T in rising order; the sample is shuffled to the front. */
static int64_t tail_of(const struct work * w, int64_t * tail) {
    int64_t n = 0;
    for (int64_t i = 0; i < w->t->visible; i++) {
        if (!w->fixed[w->order[i]]) {
            tail[n++] = w->order[i];
        }
    }
    return n;
}

static void shuffle(struct work * w, int64_t * tail, int64_t n_s, int64_t from, int64_t to) {
    for (int64_t j = from; j < to; j++) {
        int64_t other = j + (int64_t)random_number(w, n_s - j), row = tail[j];
        tail[j] = tail[other];
        tail[other] = row;
    }
}

/* paper_shared: the rows of T as they come in a shuffle of all visible rows. */
static void order_of_group(struct work * w, int64_t * tail) {
    int64_t * all = malloc((size_t)w->n * sizeof *all), n = w->t->visible, n_s = 0;
    memcpy(all, w->order, (size_t)n * sizeof *all);
    shuffle(w, all, n, 0, n);
    for (int64_t i = 0; i < n; i++) {
        if (!w->fixed[all[i]]) {
            tail[n_s++] = all[i];
        }
    }
    free(all);
}

/* The sample is at the front of the tail; of a group's order it is there from the beginning. */
static void draw_rows(struct work * w, int64_t * tail, int64_t n_s, int64_t from, int64_t to) {
    if (!w->l->options.paper_shared) {
        shuffle(w, tail, n_s, from, to);
    } else if (from == 0) {
        order_of_group(w, tail);
    }
}

/* n_s sd(e) / D and n_s sqrt(sum_j Var(e v_j)) / ||N||, from the pilot and F. */
static void spreads(const struct work * w, const int64_t * tail, int64_t n_s, int64_t b0, double * n, double * d) {
    double mean = 0.0, variance = 0.0, fixed = 0.0, trace = 0.0, norm2 = 0.0;
    for (int64_t j = 0; j < b0; j++) {
        mean += w->e[tail[j]] / (double)b0;
    }
    for (int64_t j = 0; j < b0; j++) {
        variance += pow(w->e[tail[j]] - mean, 2) / (double)(b0 - 1);
    }
    for (int64_t i = 0; i < w->t->visible; i++) {
        fixed += w->fixed[w->order[i]] ? w->e[w->order[i]] : 0.0;
    }
    *d = (double)n_s * sqrt(variance) / (fixed + (double)n_s * mean);
    for (int32_t a = 0; a < w->l->options.v_dim; a++) {
        double m = 0.0, f = 0.0;
        for (int64_t j = 0; j < b0; j++) {
            m += w->e[tail[j]] * value(w, tail[j], a) / (double)b0;
        }
        for (int64_t j = 0; j < b0; j++) {
            trace += pow(w->e[tail[j]] * value(w, tail[j], a) - m, 2) / (double)(b0 - 1);
        }
        for (int64_t i = 0; i < w->t->visible; i++) {
            f += w->fixed[w->order[i]] ? w->e[w->order[i]] * value(w, w->order[i], a) : 0.0;
        }
        norm2 += pow(f + (double)n_s * m, 2);
    }
    *n = (double)n_s * sqrt(trace / norm2);
}

/* Theorem 4.3 by trying: all splits of eps / 2 and delta on a grid. */
static double best_split(double n, double d, double eps, double delta) {
    double best = INFINITY;
    for (int i = 1; i < 400; i++) {
        double d1 = delta * i / 400, zn = normal_quantile(0.5 * d1) * n, zd = normal_quantile(0.5 * (delta - d1)) * d;
        for (int j = 1; j < 400; j++) {
            double e1 = 0.5 * eps * j / 400, e2 = 0.5 * eps - e1;
            best = fmin(best, fmax(pow(zn / e1, 2), pow(zd / e2, 2)));
        }
    }
    return best;
}

static int64_t paper_budget(const struct work * w, const int64_t * tail, int64_t n_s, int64_t b0) {
    double eps = w->l->options.eps, delta = w->l->options.delta, z = normal_quantile(0.5 * delta), n, d, b;
    spreads(w, tail, n_s, b0, &n, &d);
    b = w->which->method == VATTN_METHOD_PAPER_D   ? pow(z * d / eps, 2)
        : w->which->method == VATTN_METHOD_PAPER_N ? pow(z * n / eps, 2)
                                                   : best_split(n, d, eps, delta);
    b = ceil(b / (1.0 + b / (double)n_s));
    return b > (double)n_s ? n_s : b < (double)b0 ? b0 : (int64_t)b;
}

static int64_t followed(const struct work * w, int64_t own) {
    return w->which->budget < 0 ? own : w->which->budget;
}

static int64_t count_of(double x, int64_t n) {
    return (int64_t)fmin((double)n, floor((x <= 1.0 ? x * (double)n : x) + 0.5));
}

/* A uniform sample without replacement behind F. */
static void sample(struct work * w, bool adaptive) {
    int64_t * tail = malloc((size_t)w->n * sizeof *tail);
    int64_t n_s = tail_of(w, tail), b = count_of(w->l->options.paper_base, w->t->visible), drawn = 0;
    b = adaptive && b < 2 ? 2 : b < n_s ? b : n_s;
    if (adaptive && b < n_s) {
        w->t->pilot = b;
        draw_rows(w, tail, n_s, 0, b);
        drawn = b;
        w->t->budget = paper_budget(w, tail, n_s, b);
        b = followed(w, w->t->budget);
    } else {
        w->t->budget = b;
    }
    draw_rows(w, tail, n_s, drawn, b);
    for (int64_t j = 0; j < b; j++) {
        w->t->inverse[tail[j]] = (double)n_s / (double)b;
    }
    free(tail);
}

/* ------------------------------------------------------------------------------------------------------- by scores */

struct place {
    int64_t row;
    double rank, place; /* rank: |F| + mean rank */
};

static int compare_places(const void * a, const void * b) {
    double x = ((const struct place *)a)->place, y = ((const struct place *)b)->place;
    return (x > y) - (x < y);
}

static struct place * places_of(const struct work * w, const int64_t * tail, int64_t n_s) {
    struct place * p = malloc((size_t)n_s * sizeof *p);
    for (int64_t i = 0; i < n_s; i++) {
        double better = 0.0, equal = 0.0;
        for (int64_t j = 0; j < n_s; j++) {
            better += relevance(w, tail[j]) > relevance(w, tail[i]);
            equal += relevance(w, tail[j]) == relevance(w, tail[i]); /* itself, too */
        }
        p[i].row = tail[i];
        p[i].rank = (double)w->t->n_fixed + better + (equal + 1.0) / 2.0;
        p[i].place = ((double)random_word(w, (uint32_t)tail[i]) + 0.5) / 4294967296.0 * p[i].rank;
    }
    qsort(p, (size_t)n_s, sizeof *p, compare_places);
    return p;
}

/* The place that row i must stay below to be one of the first b, over its rank. */
static double chance_of(const struct place * p, int64_t n_s, int64_t i, int64_t b) {
    return b == n_s ? 1.0 : fmin(1.0, (i < b ? p[b].place : p[b - 1].place) / p[i].rank);
}

/* What D and N are by the pilot, and whether b rows estimate them as well as the method wants. */
static bool enough(const struct work * w, const struct place * p, int64_t n_s, int64_t b0, int64_t b) {
    double eps = w->l->options.eps, delta = w->l->options.delta, z = normal_quantile(0.5 * delta);
    double d = 0.0, d_error2 = 0.0, n2 = 0.0, n_error2 = 0.0;
    for (int64_t i = 0; i < w->t->visible; i++) {
        d += w->fixed[w->order[i]] ? w->e[w->order[i]] : 0.0;
    }
    for (int64_t i = 0; i < b0; i++) {
        double e = w->e[p[i].row], pi = chance_of(p, n_s, i, b0), later = chance_of(p, n_s, i, b);
        d += e / pi;
        d_error2 += e * e / pi * (1.0 / later - 1.0);
    }
    for (int32_t a = 0; a < w->l->options.v_dim; a++) {
        double n = 0.0;
        for (int64_t i = 0; i < w->t->visible; i++) {
            n += w->fixed[w->order[i]] ? w->e[w->order[i]] * value(w, w->order[i], a) : 0.0;
        }
        for (int64_t i = 0; i < b0; i++) {
            double x = w->e[p[i].row] * value(w, p[i].row, a), pi = chance_of(p, n_s, i, b0), later = chance_of(p, n_s, i, b);
            n += x / pi;
            n_error2 += x * x / pi * (1.0 / later - 1.0);
        }
        n2 += n * n;
    }
    double d_size = sqrt(d_error2) / d, n_size = sqrt(n_error2 / n2);
    return w->which->method == VATTN_METHOD_PAPER_D   ? z * d_size <= eps
           : w->which->method == VATTN_METHOD_PAPER_N ? z * n_size <= eps
                                                      : best_split(n_size, d_size, eps, delta) <= 1.0;
}

static int64_t fewest(const struct work * w, const struct place * p, int64_t n_s, int64_t b0) {
    int64_t low = b0, high = n_s;
    while (low < high) {
        int64_t b = (low + high) / 2;
        if (enough(w, p, n_s, b0, b)) {
            high = b;
        } else {
            low = b + 1;
        }
    }
    return low;
}

/* What is read, and how probable that was for every visible row. */
static void sample_by_scores(struct work * w) {
    int64_t * tail = malloc((size_t)w->n * sizeof *tail);
    int64_t n_s = tail_of(w, tail), b = count_of(w->l->options.paper_base, w->t->visible);
    struct place * p = places_of(w, tail, n_s);
    b = b < 2 ? 2 : b;
    if (b < n_s) {
        w->t->pilot = b;
        w->t->budget = fewest(w, p, n_s, b);
        b = followed(w, w->t->budget);
    } else {
        w->t->budget = b = n_s;
    }
    for (int64_t i = 0; i < w->t->visible; i++) {
        w->chance[w->order[i]] = 1.0;
    }
    for (int64_t i = 0; i < n_s; i++) {
        w->chance[p[i].row] = chance_of(p, n_s, i, b);
        w->t->inverse[p[i].row] = i < b ? 1.0 / w->chance[p[i].row] : 0.0;
    }
    free(p);
    free(tail);
}

/* ------------------------------------------------------------------------------------------------------------- hub */

static void hub(struct work * w) {
    const struct vattn_options * o = &w->l->options;
    int64_t R = w->last - w->first;
    double base = floor(o->paper_base <= 1.0 ? o->paper_base * (double)R : o->paper_base), d = 0.0, mean = 0.0, ss = 0.0;
    int64_t b0 = base < 2.0 ? 2 : base < (double)R ? (int64_t)base : R;
    double *seen = calloc((size_t)w->n, sizeof *seen), *drawn = malloc((size_t)b0 * sizeof *drawn);
    for (int64_t i = 0; i < w->t->visible; i++) {
        d += w->fixed[w->order[i]] ? w->e[w->order[i]] : 0.0;
    }
    for (int64_t j = 0; j < b0; j++) {
        int64_t row = w->order[w->first + (int64_t)random_number(w, R)];
        d += seen[row] > 0.0 ? 0.0 : w->e[row] * (double)R / (double)b0;
        seen[row] = 1.0;
        drawn[j] = w->e[row];
        mean += w->e[row] / (double)b0;
    }
    for (int64_t j = 0; j < b0; j++) {
        ss += pow(drawn[j] - mean, 2);
    }
    double b = floor(pow(normal_quantile(o->delta) * sqrt(ss / (double)(b0 - 1)) * (double)R / (o->eps * d), 2));
    w->t->pilot = b0;
    w->t->budget = b < (double)b0 ? b0 : b > (double)R ? R : (int64_t)b;
    int64_t draws = followed(w, w->t->budget);
    memset(seen, 0, (size_t)w->n * sizeof *seen);
    for (int64_t j = 0; j < draws; j++) {
        seen[w->order[w->first + (int64_t)random_number(w, R)]] = (double)draws / (double)R;
    }
    for (int64_t i = 0; i < w->t->visible; i++) { /* masks are added and clamped; their inverse is the weight */
        int64_t r = w->order[i];
        double mask = fmin(1.0, (w->fixed[r] ? 1.0 : 0.0) + seen[r]);
        w->t->inverse[r] = mask > 0.0 ? 1.0 / (mask + 1e-6) : 0.0;
    }
    free(seen);
    free(drawn);
}

/* ------------------------------------------------------------------------------------------------------------- all */

double twin_inclusion(double angle, int k, int l, int least) {
    double c = pow(1.0 - angle / acos(-1.0), k), few = 0.0;
    for (int j = 0; j < least; j++) {
        few += exp(lgamma(l + 1.0) - lgamma(j + 1.0) - lgamma(l - j + 1.0)) * pow(c, j) * pow(1.0 - c, l - j);
    }
    return 1.0 - few;
}

static void weigh(struct work * w) {
    enum vattn_method method = w->which->method;
    for (int64_t i = 0; i < w->t->visible; i++) {
        w->t->inverse[w->order[i]] = w->fixed[w->order[i]] ? 1.0 : 0.0;
    }
    if (method == VATTN_METHOD_HUB) {
        hub(w);
    } else if (method == VATTN_METHOD_MAGICPIG) {
        for (int64_t i = 0; i < w->t->visible; i++) {
            int64_t r = w->order[i];
            if (!w->fixed[r] && w->which->within[r] > 0.0) {
                w->t->inverse[r] = 1.0 / (w->which->within[r] + 1e-4);
            }
        }
    } else if (method == VATTN_METHOD_UNIFORM) {
        sample(w, false);
    } else if (w->l->options.paper_by_scores) {
        sample_by_scores(w);
    } else if (method == VATTN_METHOD_PAPER_D || method == VATTN_METHOD_PAPER_N || method == VATTN_METHOD_PAPER_SDPA) {
        sample(w, true);
    }
}

static void finish(struct work * w) {
    double d = 0.0;
    for (int64_t i = 0; i < w->t->visible; i++) {
        int64_t r = w->order[i];
        double x = w->e[r] * w->t->inverse[r];
        d += x;
        for (int32_t a = 0; a < w->l->options.v_dim && x > 0.0; a++) {
            w->t->o[a] += x * value(w, r, a);
        }
    }
    for (int32_t a = 0; a < w->l->options.v_dim; a++) {
        w->t->o[a] /= d;
    }
    w->t->log_d += log(d);
}

static void begin(struct work * w, const struct layer * l, const struct paper_case * which, struct paper_twin * t) {
    size_t n = (size_t)l->kv.n_keys;
    *w = (struct work){.l = l, .which = which, .t = t, .n = l->kv.n_keys};
    *t = (struct paper_twin){.inverse = calloc(n, sizeof(double)), .o = calloc((size_t)l->options.v_dim, sizeof(double))};
    w->order = malloc(n * sizeof *w->order);
    w->e = calloc(n, sizeof *w->e);
    w->fixed = calloc(n, 1);
    w->chance = calloc(n, sizeof *w->chance);
}

static void end(struct work * w) {
    free(w->order);
    free(w->e);
    free(w->fixed);
    free(w->chance);
}

/* Which rows are read, and their weights. */
static void decide(struct work * w) {
    enum vattn_method method = w->which->method;
    start(w);
    if (method == VATTN_METHOD_TOPP_ORACLE) {
        top_p(w, w->which->top_p);
    } else if (method != VATTN_METHOD_UNIFORM && method != VATTN_METHOD_SINK_WINDOW && method != VATTN_METHOD_MAGICPIG) {
        top_k(w, count_of(w->l->options.paper_topk, w->t->visible));
    }
    count_fixed(w);
    weigh(w);
}

/* All rows that either head read, each with the larger of the two chances. */
static void pool(struct work * w, const struct work * other) {
    for (int64_t r = 0; r < w->n; r++) {
        bool read = w->t->inverse[r] > 0.0 || other->t->inverse[r] > 0.0;
        w->t->inverse[r] = read ? 1.0 / fmax(w->chance[r], other->chance[r]) : 0.0;
    }
}

void paper_twin(const struct layer * l, const struct paper_case * which, struct paper_twin * t) {
    struct work w, other;
    struct paper_twin t_other;
    begin(&w, l, which, t);
    decide(&w);
    if (which->other != NULL) {
        begin(&other, l, which->other, &t_other);
        decide(&other);
        pool(&w, &other);
        end(&other);
        paper_twin_free(&t_other);
    }
    finish(&w);
    end(&w);
}

void paper_twin_free(struct paper_twin * t) {
    free(t->inverse);
    free(t->o);
}
