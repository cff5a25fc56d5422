/* SPDX-License-Identifier: MIT */
#include "paper/head.h"

#include <string.h>

#include "base/random.h"

const float * vattn_paper_query(const struct vattn_head * h) {
    const struct vattn_input * in = &h->c->in;
    size_t stride = in->q_head_stride != 0 ? in->q_head_stride : (size_t)h->c->plan->opt.head_dim * sizeof(float);
    return (const float *)(const void *)((const char *)in->q + (size_t)h->head * stride);
}

void vattn_paper_score(struct vattn_head * h, int64_t end) {
    const struct vattn_plan * plan = h->c->plan;
    int64_t n = end - h->scored;
    if (n <= 0) {
        return;
    }
    struct vattn_rows k = vattn_k_rows(h->c->in.kv, h->kv_head);
    k.index = h->list + h->scored;
    k.n = (int32_t)n;
    vattn_plan_score(plan, &k, h->c->q + (size_t)h->head * (size_t)plan->opt.head_dim, 1, h->score + h->scored, n);
    h->m = fmax(h->m, (double)plan->kern->max(h->score + h->scored, (int32_t)n));
    h->scored = end;
}

uint32_t vattn_paper_random(const struct vattn_head * h, uint32_t i) {
    const struct vattn_options * o = &h->c->plan->opt;
    const uint32_t seed[2] = {(uint32_t)o->seed, (uint32_t)(o->seed >> 32)};
    const uint32_t counter[4] = {i / 4, (uint32_t)h->c->in.nonce, (uint32_t)(h->c->in.nonce >> 32),
                                 vattn_random_stream(VATTN_RANDOM_UNIFORM, h->c->in.layer, o->paper_shared ? h->kv_head : h->head)};
    uint32_t word[4];
    vattn_philox4x32(counter, seed, word);
    return word[i & 3];
}

/* Fisher and Yates' shuffle of n rows, from `begin` on as far as `end`; it can go on later. */
static void shuffle(const struct vattn_head * h, int32_t * rows, int64_t n, int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j++) {
        int64_t other = j + (int64_t)((uint64_t)vattn_paper_random(h, (uint32_t)j) * (uint64_t)(n - j) >> 32);
        int32_t row = rows[j];
        rows[j] = rows[other];
        rows[other] = row;
    }
}

/* Rows of T in the order of a shuffle of all visible rows that is the same for every head of the group: of T it is a uniform order, too. */
static void order_tail(struct vattn_head * h) {
    int64_t at = h->n_fixed;
    vattn_paper_visible(h, h->spare);
    shuffle(h, h->spare, h->n, 0, h->n);
    for (int64_t i = 0; i < h->n; i++) {
        h->proxy[h->spare[i]] = 0.0F; /* proxies are not needed any more */
    }
    for (int64_t i = 0; i < h->n_fixed; i++) {
        h->proxy[h->list[i]] = 1.0F;
    }
    for (int64_t i = 0; i < h->n; i++) {
        if (h->proxy[h->spare[i]] == 0.0F) {
            h->list[at++] = h->spare[i];
        }
    }
}

void vattn_paper_draw(struct vattn_head * h, int64_t have, int64_t want) {
    if (!h->c->plan->opt.paper_shared) {
        shuffle(h, h->list + h->n_fixed, h->n - h->n_fixed, have, want);
    } else if (have == 0) {
        order_tail(h);
    }
}

static struct vattn_rows value_rows(const struct vattn_head * h, const int32_t * index, int64_t n) {
    struct vattn_rows v = vattn_v_rows(h->c->in.kv, h->kv_head);
    v.index = index;
    v.n = (int32_t)n;
    return v;
}

void vattn_paper_value(const struct vattn_head * h, int32_t row, float * v) {
    const struct vattn_rows rows = value_rows(h, &row, 1);
    vattn_plan_value(h->c->plan, &rows, v);
}

void vattn_paper_output(struct vattn_head * h, int64_t used) {
    const struct vattn_plan * plan = h->c->plan;
    const struct vattn_rows rows = value_rows(h, h->list, used);
    float * out = vattn_call_out(h->c, h->head);
    double d = 0.0;
    vattn_paper_score(h, used);
    for (int64_t i = 0; i < used; i++) {
        double w = vattn_paper_weight(h, i) * (double)h->inverse[i];
        h->inverse[i] = (float)w;
        d += w;
    }
    memset(out, 0, (size_t)plan->opt.v_dim * sizeof *out);
    vattn_plan_accumulate(plan, &rows, h->inverse, used, 1, out);
    for (int32_t i = 0; i < plan->opt.v_dim && d != 0.0; i++) {
        out[i] = (float)((double)out[i] / d);
    }
    h->result->used = used;
    h->result->n_fixed = h->n_fixed;
    h->result->log2_d = h->m + log2(d);
}
