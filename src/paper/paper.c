/* SPDX-License-Identifier: MIT */
#include "paper/paper.h"

#include <string.h>

#include "base/bits.h"
#include "paper/rules.h"
#include "paper/scores.h"

bool vattn_paper_serves(enum vattn_method method) {
    return method == VATTN_METHOD_PAPER_D ||
           (method >= VATTN_METHOD_PAPER_N && (unsigned)method < VATTN_METHOD_COUNT);
}

/* Methods that take any selector and have a rule of their own beside it. */
static bool on_a_selector(enum vattn_method method) {
    return method == VATTN_METHOD_PAPER_D || method == VATTN_METHOD_PAPER_N || method == VATTN_METHOD_PAPER_SDPA ||
           method == VATTN_METHOD_HUB;
}

static bool without_selector(enum vattn_method method) {
    return method == VATTN_METHOD_SINK_WINDOW || method == VATTN_METHOD_UNIFORM;
}

bool vattn_paper_selector_fits(const struct vattn_plan * plan, const struct vattn_selector * s) {
    enum vattn_method method = plan->opt.method;
    if (without_selector(method)) {
        return true;
    }
    if (s == NULL) {
        return on_a_selector(method) || method == VATTN_METHOD_TOPK_ORACLE || method == VATTN_METHOD_TOPP_ORACLE;
    }
    const struct vattn_options *a = &plan->opt, *b = &s->plan->opt;
    return (on_a_selector(method) || s->kind->name == method) && a->n_heads == b->n_heads &&
           a->n_kv_heads == b->n_kv_heads && a->head_dim == b->head_dim && a->k_type == b->k_type;
}

static const struct vattn_selector * choose(const struct vattn_plan * plan, const struct vattn_selector * given,
                                            struct vattn_selector * oracle) {
    if (without_selector(plan->opt.method)) {
        return NULL;
    }
    bool top_p = plan->opt.method == VATTN_METHOD_TOPP_ORACLE;
    *oracle = (struct vattn_selector){.plan = plan,
                                      .opt.top_p = 0.9,
                                      .kind = top_p ? &vattn_selector_topp_oracle : &vattn_selector_topk_oracle,
                                      .n_keys = plan->opt.max_keys};
    return given != NULL ? given : oracle;
}

struct vattn_paper * vattn_paper_layout(const struct vattn_plan * plan, struct vattn_scratch * a, int64_t n_keys,
                                        const struct vattn_selector * selector) {
    struct vattn_paper v = {.ld = (n_keys < 1 ? 64 : (n_keys + 63) / 64 * 64)};
    size_t groups = (size_t)plan->opt.n_kv_heads, n = groups * (size_t)v.ld;
    struct vattn_paper * p = vattn_scratch_take(a, 1, sizeof *p);
    v.work_bytes = selector == NULL ? 0 : (selector->kind->work_bytes(selector) + 63) / 64 * 64;
    v.heads = vattn_scratch_take(a, (size_t)plan->opt.n_heads, sizeof *v.heads);
    v.proxy = vattn_scratch_take(a, n, sizeof *v.proxy);
    v.score = vattn_scratch_take(a, n, sizeof *v.score);
    v.inverse = vattn_scratch_take(a, n, sizeof *v.inverse);
    v.list = vattn_scratch_take(a, n, sizeof *v.list);
    v.spare = vattn_scratch_take(a, n, sizeof *v.spare);
    v.read = vattn_scratch_take(a, n / 64, sizeof *v.read);
    v.peeked = vattn_scratch_take(a, n / 64, sizeof *v.peeked);
    v.sums = vattn_scratch_take(a, groups * 2 * (size_t)plan->opt.v_dim, sizeof *v.sums);
    size_t n_tickets = plan->opt.paper_by_scores ? n : 0;
    v.ticket = vattn_scratch_take(a, n_tickets, sizeof *v.ticket);
    v.inclusion = vattn_scratch_take(a, n_tickets, sizeof *v.inclusion);
    v.work = vattn_scratch_take(a, groups, v.work_bytes);
    if (p != NULL) {
        *p = v;
        p->selector = choose(plan, selector, &p->oracle);
    }
    return p;
}

static struct vattn_head head_of(struct vattn_call * c, int32_t g, int32_t head) {
    struct vattn_paper * p = c->paper;
    size_t at = (size_t)g * (size_t)p->ld;
    return (struct vattn_head){
        .c = c,
        .selector = p->selector,
        .result = &p->heads[head],
        .head = head,
        .kv_head = g,
        .n = c->n_visible,
        .proxy = p->proxy + at,
        .score = p->score + at,
        .inverse = p->inverse + at,
        .list = p->list + at,
        .spare = p->spare + at,
        .read = p->read + at / 64,
        .peeked = p->peeked + at / 64,
        .sums = p->sums + (size_t)g * 2 * (size_t)c->plan->opt.v_dim,
        .ticket = p->ticket + (c->plan->opt.paper_by_scores ? at : 0),
        .inclusion = p->inclusion + (c->plan->opt.paper_by_scores ? at : 0),
        .work = p->work + (size_t)g * p->work_bytes,
    };
}

static void select_rows(struct vattn_head * h) {
    const struct vattn_selector * s = h->selector;
    vattn_paper_list(h);
    if (s == NULL || h->n_fixed == h->n) {
        return;
    }
    vattn_paper_proxies(h);
    int64_t k = vattn_paper_count(h->c->plan->opt.paper_topk, h->n);
    if (h->c->plan->opt.method == VATTN_METHOD_MAGICPIG) {
        return; /* its rule selects */
    }
    if (s->kind->name == VATTN_METHOD_TOPP_ORACLE) {
        vattn_paper_select_top_p(h, s->opt.top_p);
    } else {
        vattn_paper_select_top_k(h, s->kind->budget == NULL ? k : s->kind->budget(s, k));
    }
}

static void estimate(struct vattn_head * h) {
    const struct vattn_options * o = &h->c->plan->opt;
    switch (o->method) {
    case VATTN_METHOD_PAPER_D:
    case VATTN_METHOD_PAPER_N:
    case VATTN_METHOD_PAPER_SDPA:
        vattn_rule_adaptive(h);
        break;
    case VATTN_METHOD_HUB:
        vattn_rule_hub(h);
        break;
    case VATTN_METHOD_UNIFORM:
        vattn_rule_uniform(h, vattn_paper_count(o->paper_base, h->n));
        break;
    case VATTN_METHOD_MAGICPIG:
        vattn_rule_magicpig(h);
        break;
    default:
        vattn_rule_none(h);
        break;
    }
}

static void attend_head(struct vattn_head * h) {
    *h->result = (struct vattn_paper_head){0};
    select_rows(h);
    estimate(h);
    for (int64_t i = 0; i < h->result->used; i++) {
        vattn_bit_set(h->read, h->list[i]);
    }
}

static void certify(const struct vattn_head * h) {
    struct vattn_certificate * cert = &h->c->cert[h->head];
    cert->answer = h->result->exact ? VATTN_ANSWER_EXACT : VATTN_ANSWER_UNCERTIFIED;
    cert->bound = h->result->exact ? 1e-5F : INFINITY;
    cert->n_keys = h->n;
    cert->rounds = 1;
}

/* The outputs of the group's heads, each from all that the group has read. */
static void pool(struct vattn_call * c, int32_t g, int32_t first) {
    bool exact = false;
    for (int32_t i = first; i < first + c->plan->group; i++) {
        exact = exact || c->paper->heads[i].exact; /* one head read everything, so all did */
    }
    for (int32_t i = first; i < first + c->plan->group; i++) {
        struct vattn_head h = head_of(c, g, i);
        h.n_fixed = h.result->n_fixed;
        h.result->exact = exact;
        vattn_scores_pool(&h);
    }
}

/* Rows whose K and V were read, and rows of which only K was. */
static void count_rows(const struct vattn_head * h, int64_t ld, int64_t * rows_kv, int64_t * rows_k) {
    int64_t k = 0;
    *rows_kv = 0;
    for (int64_t w = 0; w < ld / 64; w++) {
        *rows_kv += vattn_popcount(h->read[w]);
        k += vattn_popcount(h->peeked[w] & ~h->read[w]);
    }
    *rows_k = h->selector != NULL && h->selector->kind->reads_keys ? h->n - *rows_kv : k;
}

void vattn_paper_group(struct vattn_call * c, int32_t g) {
    const struct vattn_options * o = &c->plan->opt;
    int64_t words = c->paper->ld / 64, rows_kv, rows_k, index_bytes = 0;
    int32_t first = g * c->plan->group;
    const bool pooled = vattn_scores_pooled(c->plan);
    struct vattn_head h = head_of(c, g, first);
    memset(h.read, 0, (size_t)words * sizeof *h.read);
    memset(h.peeked, 0, (size_t)words * sizeof *h.peeked);
    if (pooled) {
        memset(h.inclusion, 0, (size_t)c->paper->ld * sizeof *h.inclusion);
    }
    for (int32_t i = first; i < first + c->plan->group; i++) {
        h = head_of(c, g, i);
        attend_head(&h);
        index_bytes += h.index_bytes;
        if (pooled) {
            vattn_scores_include(&h);
        }
    }
    if (pooled) {
        pool(c, g, first);
    }
    count_rows(&h, c->paper->ld, &rows_kv, &rows_k);
    int64_t k_bytes = (int64_t)vattn_row_size(o->k_type, o->head_dim);
    int64_t v_bytes = (int64_t)vattn_row_size(o->v_type, o->v_dim);
    for (int32_t i = first; i < first + c->plan->group; i++) {
        h = head_of(c, g, i);
        certify(&h);
        c->cert[i].rows_kv = rows_kv;
        c->cert[i].rows_k = rows_k;
        c->cert[i].bytes = rows_k * k_bytes + rows_kv * (k_bytes + v_bytes) + index_bytes;
    }
}
