/* SPDX-License-Identifier: MIT
 *
 * After a look: which heads pass, which KV heads are done, open for another look, or exact.
 *
 * A head passes iff  c (V + bias^2) <= eps^2 (||o||^2 - V),  c = quantile of F(nu, 2 neff),  and the guards hold:
 *     A   a0 <= 0.01: the denominator, a sum over the keys that were read, is known to 10 %; else more keys are read, not values
 *     C   no single draw may carry more than 1/B of the allowed error, B = 5 times ln(1/delta) / ln(20) for delta below .05:
 *         t <= log2(eps ||o|| D / (B v_rms)).  Keys are drawn by proxies, and those of many rows can be too low together, so that
 *         none of them may be drawn and nothing tells:  tk <= the same with max(42, 19.2 exp(2 sigma)) max(1, ||o - c|| / (.75 v_rms))
 *         in the place of 5, sigma the expected error of a proxy in nats
 *     N   something was drawn by chance, or everything was read
 */
#include "sparse/sparse.h"

#include <math.h>
#include <string.h>

#define A0_MOST    0.01
#define A0_STEP    1.0F /* octaves that tk falls at least where guard A failed before: rows may be at the floor, or another head's */
#define OVERSHOOT  1.05 /* and the spread of a variance estimate from so many draws */
#define CAP_VALUES 5.0
#define CAP_KEYS   42.0
#define CAP_SIGMA  19.2
#define CAP_DELTA  0.05
#define CAP_STEP   3.0F /* octaves that a threshold falls at once because of its cap */
#define KEY_STEP   4.0F
#define KEYS_SHARE 0.6 /* of the allowed variance, which drawing keys may bring */
#define CAP_SLACK  0.1F
#define CLAIM_LEAST 0.5 /* part of eps */
#define CLAIM_MORE  1.25 /* the bound is of a V that let the call pass: rather a low one */
#define FAR_OUTPUT 0.75 /* |o - c| / v_rms of an output that is far from the mean value */
#define LN2        0.6931471805599453

/* bound / allowed if the variance were `fall` times smaller from `fall` times as many draws */
static double ratio_after(const struct vattn_plan * plan, const struct vattn_evidence * e, double allowed, double fall) {
    return vattn_evidence_bound(e, &plan->quantile, plan->opt.v_dim, fall) / allowed;
}

/* The factor by which the variance must fall, at most what so few draws can be trusted to say. */
static double fall_needed(const struct vattn_plan * plan, const struct vattn_evidence * e, double allowed, int32_t looks) {
    double fall = 1.0, most = (2.0 + vattn_evidence_neff(e)) * (looks >= 5 ? 4.0 : looks >= 3 ? 2.0 : 1.0);
    for (int i = 0; i < 6; i++) {
        double ratio = ratio_after(plan, e, allowed, fall);
        fall = fmax(1.0, fall * ratio * ratio);
    }
    fall *= OVERSHOOT + 1.0 / sqrt(1.0 + vattn_evidence_neff(e) * fall);
    if (looks >= 1 && vattn_evidence_neff(e) < 4.0) { /* one heavy row: small steps never end */
        fall = fmax(fall, 4.0);
    }
    return fall <= most ? fall : most; /* also for NaN */
}

/*
 * The design of the keys knows how far a value is from the mean value c, not from the output.  Where the output itself is far from c,
 * rows near c matter more than it thinks: by up to 1 + |o - c| / |v - c|, and |v - c| counts as v_rms / 2 at least.  Outputs of usual
 * distance (median .2 to .6 v_rms) are in CAP_KEYS already: it holds up to FAR_OUTPUT, beyond it the care grows with |o - c|.
 */
static double far_output(const struct vattn_call * c, int32_t h) {
    const struct vattn_code_book * book = &c->in.index->books[h / c->plan->group];
    const float * o = c->sparse->estimates + (size_t)h * (size_t)c->plan->opt.v_dim;
    double sum = 0.0;
    for (int32_t i = 0; i < c->plan->opt.v_dim; i++) {
        double x = (double)o[i] - (double)book->v_mean[i];
        sum += x * x;
    }
    return fmax(1.0, sqrt(sum) / (FAR_OUTPUT * (double)book->v_rms));
}

double vattn_sparse_cap(const struct vattn_call * c, double allowed) {
    double rarer = fmax(1.0, log(c->plan->delta_head) / log(CAP_DELTA)); /* rarer misses are made by single draws */
    return log2(allowed / (CAP_VALUES * rarer));
}

double vattn_sparse_key_care(const struct vattn_call * c, int32_t h) {
    return log2(fmax(CAP_KEYS, CAP_SIGMA * exp(2.0 * LN2 * (double)c->sparse->heads[h].sigma)) / CAP_VALUES);
}

/* Guard C after a look: `allowed` is the error that the promise leaves. */
static void set_caps(const struct vattn_call * c, int32_t h, double allowed) {
    struct vattn_head * head = &c->sparse->heads[h];
    double v_rms = (double)c->in.index->books[h / c->plan->group].v_rms;
    head->last_cap = (float)(vattn_sparse_cap(c, allowed / v_rms) + (double)head->log2_d);
    head->last_key_cap = (float)((double)head->last_cap - vattn_sparse_key_care(c, h) - log2(far_output(c, h)));
}

/* All visible rows were read with pi = 1: reading them all by luck is still a sample with weights. */
static bool everything_sure(const struct vattn_call * c, int32_t h) {
    const struct vattn_sparse * s = c->sparse;
    return s->groups[h / c->plan->group].rows_read == c->n_visible && s->heads[h].evidence.draws == 0;
}

/* Octaves that tk must fall for guard A: a0 is a sum over (1 - pi1)/pi1^2, and t, which chooses among keys that are read, has no part in it. */
static float keys_needed(double a0, int32_t looks) {
    if (!(a0 > A0_MOST)) {
        return 0.0F;
    }
    float octaves = fminf((float)log2(1.1 * a0 / A0_MOST), KEY_STEP);
    return looks > 0 ? fmaxf(octaves, A0_STEP) : octaves;
}

/*
 * Octaves that tk must fall for the variance: what drawing keys brings of it falls with tk alone.  It is to be KEYS_SHARE of what is
 * allowed, or as much of that as it is of the variance now.
 */
static float keys_fall(const struct vattn_evidence * e, double fall) {
    double share = e->v > 0.0 ? e->v_keys / e->v : 0.0;
    return (float)log2(fmax(1.0, fall * fmin(1.0, share / KEYS_SHARE)));
}

/* Verdict on one head; lowers the caps of the design where guard A or C failed. */
static void judge_head(struct vattn_call * c, int32_t h, double allowed, bool enough, double fall) {
    struct vattn_sparse * s = c->sparse;
    struct vattn_head * head = &s->heads[h];
    bool all = everything_sure(c, h);
    bool blind = head->evidence.draws == 0 && !all;
    set_caps(c, h, allowed);
    bool heavy = s->thresholds[h] > head->last_cap + CAP_SLACK || s->key_thresholds[h] > head->last_key_cap + CAP_SLACK;
    heavy = heavy && !all;
    fall = blind ? 4.0 : fall;
    head->cap = fminf(s->thresholds[h], fmaxf(head->last_cap, s->thresholds[h] - CAP_STEP));
    head->key_cap = fmaxf(head->last_key_cap, s->key_thresholds[h] - KEY_STEP);
    float octaves = keys_needed(head->evidence.a0, s->groups[h / c->plan->group].looks);
    octaves = enough ? octaves : fmaxf(octaves, keys_fall(&head->evidence, fall));
    head->key_cap = fminf(head->key_cap, s->key_thresholds[h] - octaves);
    head->passed = enough && !heavy && !blind && head->evidence.a0 <= A0_MOST;
    head->fall = head->passed || (enough && heavy && fall <= 1.0) ? 1.0 : fmax(fall, 1.0);
}

static void judge_one(struct vattn_call * c, int32_t h) {
    struct vattn_head * head = &c->sparse->heads[h];
    const struct vattn_evidence * e = &head->evidence;
    double allowed = vattn_evidence_allowed(e, c->plan->opt.eps), ratio = ratio_after(c->plan, e, allowed, 1.0);
    bool sane = e->o2 > 0.0 && isfinite(e->o2) && isfinite(e->v);
    head->bound = ratio * allowed;
    bool enough = sane && ratio <= 1.0;
    judge_head(c, h, allowed, enough,
               enough ? 1.0 : fall_needed(c->plan, e, allowed, c->sparse->groups[h / c->plan->group].looks));
}

static double group_variance(const struct vattn_call * c, int32_t g) {
    double v = 0.0;
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        v += c->sparse->heads[h].evidence.v;
    }
    return v;
}

/* Scope layer: c(nu_L) sum V <= eps^2 (sum ||o||^2 - sum V) with nu_L from below (Cauchy-Schwarz within a group). */
static void judge_layer(struct vattn_call * c) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_plan * plan = c->plan;
    double v = 0.0, o2 = 0.0, squares = 0.0, q = 0.0, bias = 0.0;
    int32_t looks = 0;
    int64_t draws = 0;
    for (int32_t g = 0; g < plan->opt.n_kv_heads; g++) {
        double root = 0.0;
        for (int32_t h = g * plan->group; h < (g + 1) * plan->group; h++) {
            const struct vattn_evidence * e = &s->heads[h].evidence;
            o2 += e->o2;
            if (s->groups[g].state == VATTN_GROUP_EXACT) { /* brings no error */
                continue;
            }
            v += e->v;
            q += sqrt(e->q); /* heads of a group share their rows: the worst case is that draws coincide */
            bias += e->a0 * e->v;
            draws += e->draws;
            root += e->v / sqrt(vattn_evidence_nu(e, plan->delta_head, plan->opt.v_dim));
            looks = s->groups[g].looks > looks ? s->groups[g].looks : looks;
        }
        squares += root * root;
    }
    struct vattn_evidence layer = {.o2 = o2, .v = v, .q = q * q, .a0 = v > 0.0 ? bias / v : 0.0, .trace2 = squares,
                                    .draws = draws};
    layer.top = v > 0.0 ? squares / v : 0.0; /* nu_L either way */
    double allowed = vattn_evidence_allowed(&layer, plan->opt.eps), ratio = v > 0.0 ? ratio_after(plan, &layer, allowed, 1.0) : 0.0;
    bool enough = o2 > 0.0 && isfinite(o2) && isfinite(v) && ratio <= 1.0;
    double fall = enough ? 1.0 : fall_needed(plan, &layer, allowed, looks);
    for (int32_t h = 0; h < plan->opt.n_heads; h++) {
        if (s->groups[h / plan->group].state == VATTN_GROUP_OPEN) {
            /* the KV heads that carry most of the error fall first */
            double share = v > 0.0 ? group_variance(c, h / plan->group) * plan->opt.n_kv_heads / v : 0.0;
            s->heads[h].bound = ratio * allowed;
            judge_head(c, h, allowed, enough, enough ? 1.0 : fmax(1.0, fall * fmin(1.5, share)));
        }
    }
    s->layer = layer;
}

static void count_rows(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    struct vattn_group * group = &s->groups[g];
    group->rows_read = group->keys_read = 0;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        group->rows_read += vattn_sparse_chunk(s, g, k)->n_rows;
        group->keys_read += vattn_sparse_chunk(s, g, k)->n_keys;
    }
}

static void close_group(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    struct vattn_group * group = &s->groups[g];
    bool passed = true;
    group->looks++;
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        passed = passed && s->heads[h].passed;
    }
    if (passed) {
        group->state = VATTN_GROUP_DONE;
    } else if (group->looks >= c->plan->opt.max_looks ||
               (double)group->rows_read > c->plan->opt.max_rows * (double)c->n_visible) {
        group->state = VATTN_GROUP_EXACT;
    }
}

void vattn_sparse_decide(struct vattn_call * c, int32_t g) {
    count_rows(c, g);
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        judge_one(c, h);
    }
    close_group(c, g);
}

void vattn_sparse_decide_layer(struct vattn_call * c) {
    for (int32_t g = 0; g < c->plan->opt.n_kv_heads; g++) {
        if (c->sparse->groups[g].state == VATTN_GROUP_OPEN) {
            count_rows(c, g);
        }
    }
    judge_layer(c);
    for (int32_t g = 0; g < c->plan->opt.n_kv_heads; g++) {
        if (c->sparse->groups[g].state == VATTN_GROUP_OPEN) {
            close_group(c, g);
        }
    }
}

/*
 * The bound relative to ||o||.  Never less than a part of eps: guard C keeps a row that was not drawn small against the
 * allowed error, not against the variance that the others show.
 */
static float claimed(const struct vattn_plan * plan, const struct vattn_evidence * e, double bound) {
    double found = bound / vattn_evidence_allowed(e, 1.0), eps = plan->opt.eps;
    return (float)fmax(found, fmin(eps, fmax(CLAIM_LEAST * eps, CLAIM_MORE * found)));
}

static void certify(struct vattn_call * c, int32_t g, int32_t h, int64_t rows_k, int64_t bytes) {
    const struct vattn_sparse * s = c->sparse;
    const struct vattn_head * head = &s->heads[h];
    struct vattn_certificate * cert = &c->cert[h];
    bool all = everything_sure(c, h);
    const struct vattn_evidence * judged = c->plan->opt.scope == VATTN_SCOPE_LAYER ? &s->layer : &head->evidence;
    *cert = (struct vattn_certificate){.answer = all ? VATTN_ANSWER_EXACT : VATTN_ANSWER_CERTIFIED,
                                       .rounds = s->groups[g].looks, .n_keys = c->n_visible,
                                       .rows_kv = s->groups[g].rows_read, .rows_k = rows_k, .bytes = bytes,
                                       .error = (float)sqrt(head->evidence.v / head->evidence.o2),
                                       .bound = all ? 1e-5F : claimed(c->plan, judged, head->bound)};
}

/*
 * Bytes of the index that a call reads: codes, bonus, coverage and escape bits, the tables of the query, the means of the kinds
 * and what is known of values, as if it were read for every row (keys are scattered, and so few bytes share a line).
 */
static int64_t index_bytes(const struct vattn_call * c, int32_t g) {
    const struct vattn_index * x = c->in.index;
    int64_t n = c->in.kv->n_keys, d = c->plan->opt.head_dim, row = (int64_t)vattn_layout_token_bytes(x->books[g].layout) + 1;
    int64_t kinds = 0;
    if (x->kinds != NULL) {
        kinds = (int64_t)vattn_kinds_bytes(&x->kinds[g]);
        row += x->off != NULL ? 2 : 1;
    }
    return n * row + n / 4 + d * (d * (x->books[g].halves ? 2 : 4) + 12) + kinds;
}

void vattn_sparse_account(struct vattn_call * c, int32_t g, int64_t * rows_k, int64_t * bytes) {
    const struct vattn_sparse * s = c->sparse;
    const struct vattn_options * o = &c->plan->opt;
    int64_t k_bytes = (int64_t)vattn_row_size(o->k_type, o->head_dim);
    int64_t v_bytes = (int64_t)vattn_row_size(o->v_type, o->v_dim);
    *rows_k = *bytes = 0;
    if (!s->groups[g].scanned) {
        return;
    }
    *rows_k = s->groups[g].keys_read - s->groups[g].rows_read;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        *rows_k += vattn_sparse_chunk(s, g, k)->n_escaped;
    }
    *bytes = s->groups[g].rows_read * (k_bytes + v_bytes) + *rows_k * k_bytes + index_bytes(c, g);
}

void vattn_sparse_finish(struct vattn_call * c, int32_t g) {
    const struct vattn_sparse * s = c->sparse;
    const struct vattn_options * o = &c->plan->opt;
    int64_t rows_k, bytes;
    vattn_sparse_account(c, g, &rows_k, &bytes);
    vattn_sparse_learn(c, g);
    vattn_sparse_compare(c, g);
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        certify(c, g, h, rows_k, bytes);
        memcpy(vattn_call_out(c, h), s->estimates + (size_t)h * (size_t)o->v_dim, (size_t)o->v_dim * sizeof(float));
    }
}
