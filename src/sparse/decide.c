/* SPDX-License-Identifier: MIT
 *
 * After a look: which heads pass, which KV heads are done, open for another look, or exact.
 *
 * A head passes iff  sqrt(c V) + |bias| <= x ||o||  and the guards hold (docs/statistics.md):
 *     (bound / (x ||o||))^2 <= (neff / least)^2, least = max(10, 3 ln(1/delta));    a0 <= 0.01
 */
#include "sparse/sparse.h"

#include <math.h>
#include <string.h>

#include "call/state.h"

#define A0_MOST     0.01

/* Few effective draws: the claimed error must lie below the allowed one by the square of what is missing. */
static double guard(const struct vattn_evidence * e, double delta, double need) {
    double least = fmax(10.0, 3.0 * log(1.0 / delta)), neff = vattn_evidence_neff(e);
    if (neff < least) {
        need *= (least / neff) * (least / neff);
    }
    return e->a0 > A0_MOST ? fmax(need, 1.3) : need;
}

/* (bound / (x ||o||))^2 with guards if the variance were `fall` times smaller from `fall` times as many draws. */
static double need_after(const struct vattn_plan * plan, const struct vattn_evidence * e, double fall) {
    struct vattn_evidence f = *e;
    f.v /= fall;
    f.q /= fall * fall * fall;
    f.trace2 /= fall * fall;
    f.top /= fall;
    f.a0 /= fall;
    double ratio = vattn_evidence_bound(&f, &plan->quantile, plan->opt.v_dim) / (plan->x * sqrt(f.o2));
    return guard(&f, plan->delta_head, ratio * ratio);
}

static void judge_head(const struct vattn_plan * plan, struct vattn_head * h) {
    const struct vattn_evidence * e = &h->evidence;
    h->bound = vattn_evidence_bound(e, &plan->quantile, plan->opt.v_dim);
    h->need = need_after(plan, e, 1.0);
    h->passed = h->need <= 1.0;
    if (!h->passed) {
        double fall = 1.0;
        while (fall < 1e4 && !(need_after(plan, e, fall) <= 1.0)) { /* also while NaN: ||o|| = 0, nothing drawn */
            fall *= 1.1;
        }
        h->need = fall;
    }
}

/* Scope layer: c(nu_L) sum V <= x^2 sum ||o||^2 with nu_L from below (Cauchy-Schwarz within a group). */
static void judge_layer(struct vattn_call * c) {
    struct vattn_sparse * s = c->sparse;
    const struct vattn_plan * plan = c->plan;
    double v = 0.0, o2 = 0.0, squares = 0.0, neff = INFINITY, bias = 0.0, a0 = 0.0;
    for (int32_t g = 0; g < plan->opt.n_kv_heads; g++) {
        double root = 0.0;
        for (int32_t h = g * plan->group; h < (g + 1) * plan->group; h++) {
            const struct vattn_evidence * e = &s->heads[h].evidence;
            o2 += e->o2;
            if (s->groups[g].state == VATTN_GROUP_EXACT) { /* brings no error */
                continue;
            }
            v += e->v;
            bias += e->a0 * e->v;
            root += e->v / sqrt(vattn_evidence_nu(e, plan->delta_head, plan->opt.v_dim));
        }
        squares += root * root;
    }
    double allowed = plan->x * sqrt(o2);
    for (int32_t h = 0; h < plan->opt.n_heads; h++) {
        const struct vattn_evidence * e = &s->heads[h].evidence;
        if (e->v > 0.01 * v && s->groups[h / plan->group].state != VATTN_GROUP_EXACT) { /* heads that carry the error must have draws enough to know it */
            neff = fmin(neff, vattn_evidence_neff(e));
            a0 = fmax(a0, e->a0);
        }
    }
    double nu = squares > 0.0 ? v * v / squares : 1.0;
    double bound = sqrt(vattn_quantile_f(&plan->quantile, nu, 2.0 * neff) * v) + sqrt(bias);
    double need = v == 0.0 ? 0.0 : bound * bound / (allowed * allowed);
    struct vattn_evidence worst = {.v = 1.0, .q = 1.0 / neff, .a0 = a0};
    need = guard(&worst, plan->delta_head, need);
    need = isfinite(need) ? need : 4.0;
    for (int32_t h = 0; h < plan->opt.n_heads; h++) {
        /* the heads that carry most of the error fall first */
        s->heads[h].bound = bound;
        s->heads[h].passed = need <= 1.0;
        double share = s->heads[h].evidence.v * plan->opt.n_heads / (v > 0.0 ? v : 1.0);
        s->heads[h].need = need <= 1.0 ? need : fmax(1.0, need * fmin(1.5, share));
    }
}

static void close_group(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    struct vattn_group * group = &s->groups[g];
    bool passed = true;
    group->looks++;
    group->rows_read = 0;
    for (int32_t k = 0; k < s->n_chunks; k++) {
        group->rows_read += vattn_sparse_chunk(s, g, k)->n_rows;
    }
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

bool vattn_sparse_decide(struct vattn_call * c) {
    struct vattn_sparse * s = c->sparse;
    bool layer = c->plan->opt.scope == VATTN_SCOPE_LAYER, open = false;
    for (int32_t g = 0; g < c->plan->opt.n_kv_heads; g++) {
        for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group && s->groups[g].state == VATTN_GROUP_OPEN; h++) {
            judge_head(c->plan, &s->heads[h]);
        }
    }
    if (layer) {
        judge_layer(c);
    }
    for (int32_t g = 0; g < c->plan->opt.n_kv_heads; g++) {
        if (s->groups[g].state == VATTN_GROUP_OPEN) {
            close_group(c, g);
        }
        open = open || s->groups[g].state == VATTN_GROUP_OPEN;
    }
    if (!open && c->in.state != NULL) {
        c->in.state->steps++;
    }
    return open;
}

static void certify(struct vattn_call * c, int32_t g, int32_t h, int64_t rows_k, int64_t bytes) {
    const struct vattn_sparse * s = c->sparse;
    const struct vattn_head * head = &s->heads[h];
    struct vattn_certificate * cert = &c->cert[h];
    cert->answer = s->groups[g].rows_read == c->n_visible ? VATTN_ANSWER_EXACT : VATTN_ANSWER_CERTIFIED;
    cert->rounds = s->groups[g].looks;
    cert->n_keys = c->n_visible;
    cert->rows_kv = s->groups[g].rows_read;
    cert->rows_k = rows_k;
    cert->bytes = bytes;
    double norm = sqrt(head->evidence.o2);
    cert->error = (float)(sqrt(head->evidence.v) / norm);
    /* ||o^ - o|| <= b and b <= x ||o^|| give ||o^ - o|| <= b / (||o^|| - b) ||o|| */
    cert->bound = cert->answer == VATTN_ANSWER_EXACT ? 1e-5F : (float)fmax(1e-5, head->bound / (norm - head->bound));
}

void vattn_sparse_finish(struct vattn_call * c, int32_t g) {
    const struct vattn_sparse * s = c->sparse;
    const struct vattn_options * o = &c->plan->opt;
    int64_t k_bytes = o->head_dim * (int64_t)vattn_type_bytes(o->k_type);
    int64_t v_bytes = o->v_dim * (int64_t)vattn_type_bytes(o->v_type);
    int64_t escaped = 0, codes = (int64_t)vattn_layout_token_bytes(c->in.index->books[g].layout);
    for (int32_t k = 0; k < s->n_chunks; k++) {
        escaped += vattn_sparse_chunk(s, g, k)->n_escaped;
    }
    int64_t bytes = s->groups[g].rows_read * (k_bytes + v_bytes) + escaped * k_bytes +
                    c->in.kv->n_keys * codes + c->in.kv->n_keys / 4 + 4 * (int64_t)o->head_dim * (o->head_dim + 3);
    vattn_sparse_learn(c, g);
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        certify(c, g, h, escaped, bytes);
        memcpy(vattn_call_out(c, h), s->estimates + (size_t)h * (size_t)o->v_dim, (size_t)o->v_dim * sizeof(float));
    }
}
