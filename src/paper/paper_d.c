/* SPDX-License-Identifier: MIT */
#include "paper/paper_d.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "base/random.h"
#include "select/top_k.h"
#include "verify/quantile.h"

/* Scratch of one KV head. */
struct vattn_paper {
    int64_t ld;
    float * score;    /* [n_kv_heads][ld] of the visible rows, list order */
    float * copy;     /* [n_kv_heads][ld] */
    int32_t * list;   /* [n_kv_heads][ld] visible rows; F first, then the sample, then the rest */
    uint64_t * read;  /* [n_kv_heads][ld / 64] rows whose K and V some head of the group read */
};

struct vattn_paper * vattn_paper_layout(const struct vattn_plan * plan, struct vattn_scratch * a, int64_t n_keys) {
    struct vattn_paper v = {.ld = (n_keys < 1 ? 64 : (n_keys + 63) / 64 * 64)};
    size_t n = (size_t)plan->opt.n_kv_heads * (size_t)v.ld;
    struct vattn_paper * p = vattn_scratch_take(a, 1, sizeof *p);
    v.score = vattn_scratch_take(a, n, sizeof *v.score);
    v.copy = vattn_scratch_take(a, n, sizeof *v.copy);
    v.list = vattn_scratch_take(a, n, sizeof *v.list);
    v.read = vattn_scratch_take(a, n / 64, sizeof *v.read);
    if (p != NULL) {
        *p = v;
    }
    return p;
}

struct head {
    const struct vattn_call * c;
    int32_t head;
    int64_t n;       /* visible rows */
    int64_t n_fixed; /* rows of F, at the front of list */
    float * score;   /* parallel to list */
    int32_t * list;
    float m;
};

static int64_t count_of(double share_or_count, int64_t n) {
    double x = share_or_count <= 1.0 ? share_or_count * (double)n : share_or_count;
    return x > (double)n ? n : (int64_t)(x + 0.5);
}

static void swap(struct head * h, int64_t i, int64_t j) {
    float s = h->score[i];
    int32_t r = h->list[i];
    h->score[i] = h->score[j];
    h->list[i] = h->list[j];
    h->score[j] = s;
    h->list[j] = r;
}

static void list_rows(struct head * h) {
    const struct vattn_kv * kv = h->c->in.kv;
    int64_t n = 0;
    for (int64_t w = 0; w < vattn_words(kv->n_keys); w++) {
        for (uint64_t word = vattn_word(kv->visible, w, kv->n_keys); word != 0; word &= word - 1) {
            h->list[n++] = (int32_t)(w * 64 + vattn_lowest(word));
        }
    }
    h->n = n;
}

static void score_rows(struct head * h, int32_t g) {
    const struct vattn_plan * plan = h->c->plan;
    struct vattn_rows k = vattn_k_rows(h->c->in.kv, g);
    k.index = h->list;
    k.n = (int32_t)h->n;
    vattn_plan_score(plan, &k, h->c->q + (size_t)h->head * (size_t)plan->opt.head_dim, 1, h->score, h->n);
    h->m = plan->kern->max(h->score, (int32_t)h->n);
}

/* F to the front of the list: sinks, window, then the top-k of the rest. */
static void fix_rows(struct head * h, float * copy) {
    const struct vattn_options * o = &h->c->plan->opt;
    int64_t sink = o->sink < h->n ? o->sink : h->n, window = o->window < h->n - sink ? o->window : h->n - sink;
    for (int64_t i = 0; i < window; i++) {
        swap(h, sink + i, h->n - window + i); /* overlapping halves only permute the window */
    }
    int64_t done = sink + window, k = count_of(o->paper_topk, h->n);
    k = k < h->n - done ? k : h->n - done;
    memcpy(copy, h->score + done, (size_t)(h->n - done) * sizeof *copy);
    float cut = k > 0 ? vattn_top_k_cut(copy, h->n - done, k) : INFINITY;
    int64_t end = done + k;
    for (int64_t i = done; i < h->n && done < end; i++) {
        if (h->score[i] >= cut) {
            swap(h, done++, i);
        }
    }
    h->n_fixed = done;
}

static double weight(const struct head * h, int64_t i) {
    return exp2((double)h->score[i] - (double)h->m);
}

static uint32_t random_u32(const struct vattn_random_key * key, uint32_t i) {
    const uint32_t counter[4] = {i / 4, key->nonce[0], key->nonce[1], key->stream};
    uint32_t word[4];
    vattn_philox4x32(counter, key->seed, word);
    return word[i & 3];
}

/* Extend the simple random sample of T from `have` to `want` rows: a Fisher-Yates shuffle that stops early. */
static void draw(struct head * h, int64_t have, int64_t want) {
    const struct vattn_options * o = &h->c->plan->opt;
    struct vattn_random_key key = {{(uint32_t)o->seed, (uint32_t)(o->seed >> 32)},
                                   {(uint32_t)h->c->in.nonce, (uint32_t)(h->c->in.nonce >> 32)},
                                   vattn_random_stream(VATTN_RANDOM_UNIFORM, h->c->in.layer, h->head)};
    int64_t first = h->n_fixed;
    for (int64_t j = have; j < want; j++) {
        uint64_t left = (uint64_t)(h->n - first - j);
        uint64_t u = (uint64_t)random_u32(&key, (uint32_t)j) * left >> 32;
        swap(h, first + j, first + j + (int64_t)u);
    }
}

static int64_t budget(const struct head * h, int64_t pilot, double eps, double delta) {
    double d = 0.0, sum = 0.0, squares = 0.0, n_s = (double)(h->n - h->n_fixed), b0 = (double)pilot;
    for (int64_t i = 0; i < h->n_fixed; i++) {
        d += weight(h, i);
    }
    for (int64_t i = h->n_fixed; i < h->n_fixed + pilot; i++) {
        sum += weight(h, i);
        squares += weight(h, i) * weight(h, i);
    }
    double variance = fmax(0.0, (squares - sum * sum / b0) / (b0 - 1.0));
    double b = vattn_normal_two_sided(delta) * n_s * sqrt(variance) / (eps * (d + n_s / b0 * sum));
    b = b * b / (1.0 + b * b / n_s);
    return b > n_s ? (int64_t)n_s : b < b0 ? pilot : (int64_t)ceil(b);
}

static void output(struct head * h, int32_t g, int64_t b) {
    const struct vattn_plan * plan = h->c->plan;
    int64_t used = h->n_fixed + b;
    double d = 0.0, scale = b > 0 ? (double)(h->n - h->n_fixed) / (double)b : 0.0;
    float * out = vattn_call_out(h->c, h->head);
    for (int64_t i = 0; i < used; i++) {
        double w = weight(h, i) * (i < h->n_fixed ? 1.0 : scale);
        h->score[i] = (float)w;
        d += w;
    }
    struct vattn_rows v = vattn_v_rows(h->c->in.kv, g);
    v.index = h->list;
    v.n = (int32_t)used;
    memset(out, 0, (size_t)plan->opt.v_dim * sizeof *out);
    vattn_plan_accumulate(plan, &v, h->score, used, 1, out);
    for (int32_t i = 0; i < plan->opt.v_dim; i++) {
        out[i] = (float)(out[i] / d);
    }
}

static void attend_head(struct head * h, int32_t g, float * copy, uint64_t * read) {
    const struct vattn_options * o = &h->c->plan->opt;
    list_rows(h);
    score_rows(h, g);
    fix_rows(h, copy);
    int64_t tail = h->n - h->n_fixed, pilot = count_of(o->paper_base, h->n), b = tail;
    pilot = pilot < 2 ? 2 : pilot;
    if (pilot < tail) {
        draw(h, 0, pilot);
        b = budget(h, pilot, o->eps, h->c->plan->delta_head);
        draw(h, pilot, b);
    }
    output(h, g, b);
    for (int64_t i = 0; i < h->n_fixed + b; i++) {
        vattn_bit_set(read, h->list[i]);
    }
    struct vattn_certificate * cert = &h->c->cert[h->head];
    bool all = b == tail;
    cert->answer = all ? VATTN_ANSWER_EXACT : VATTN_ANSWER_UNCERTIFIED;
    cert->bound = all ? 1e-5F : INFINITY;
    cert->n_keys = h->n;
    cert->rounds = 1;
}

void vattn_paper_group(struct vattn_call * c, int32_t g) {
    struct vattn_paper * p = c->paper;
    const struct vattn_options * o = &c->plan->opt;
    size_t at = (size_t)g * (size_t)p->ld;
    uint64_t * read = p->read + at / 64;
    memset(read, 0, (size_t)p->ld / 8);
    for (int32_t i = 0; i < c->plan->group; i++) {
        struct head h = {.c = c, .head = g * c->plan->group + i, .score = p->score + at, .list = p->list + at};
        attend_head(&h, g, p->copy + at, read);
    }
    int64_t rows = 0;
    for (int64_t w = 0; w < p->ld / 64; w++) {
        rows += vattn_popcount(read[w]);
    }
    int64_t k_bytes = o->head_dim * (int64_t)vattn_type_bytes(o->k_type);
    int64_t v_bytes = o->v_dim * (int64_t)vattn_type_bytes(o->v_type);
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        c->cert[h].rows_kv = rows;
        c->cert[h].rows_k = c->n_visible - rows; /* the oracle looks at every key */
        c->cert[h].bytes = c->n_visible * k_bytes + rows * v_bytes;
    }
}
