/* SPDX-License-Identifier: MIT
 *
 * The deterministic set F: sinks, window, what the selector's index does not cover, and what the selector proposes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "paper/head.h"
#include "select/top_k.h"

int64_t vattn_paper_count(double share_or_count, int64_t n) {
    double x = share_or_count <= 1.0 ? share_or_count * (double)n : share_or_count;
    return x > (double)n ? n : (int64_t)(x + 0.5);
}

static int64_t sinks(const struct vattn_head * h) {
    int64_t sink = h->c->plan->opt.sink;
    return sink < h->n ? sink : h->n;
}

static int64_t window(const struct vattn_head * h) {
    int64_t window = h->c->plan->opt.window, left = h->n - sinks(h);
    return window < left ? window : left;
}

void vattn_paper_visible(const struct vattn_head * h, int32_t * rows) {
    const struct vattn_kv * kv = h->c->in.kv;
    int64_t n = 0;
    for (int64_t w = 0; w < vattn_words(kv->n_keys); w++) {
        for (uint64_t word = vattn_word(kv->visible, w, kv->n_keys); word != 0; word &= word - 1) {
            rows[n++] = (int32_t)(w * 64 + vattn_lowest(word));
        }
    }
}

int64_t vattn_paper_middle(const struct vattn_head * h, int32_t * rows) {
    int64_t count = h->n - sinks(h) - window(h);
    vattn_paper_visible(h, rows);
    memmove(rows, rows + sinks(h), (size_t)count * sizeof *rows);
    return count;
}

void vattn_paper_list(struct vattn_head * h) {
    int64_t first = sinks(h), last = h->n - window(h), front = 0, back = 0;
    int64_t covered = h->selector == NULL ? INT64_MAX : h->selector->n_keys;
    vattn_paper_visible(h, h->spare);
    for (int64_t i = 0; i < h->n; i++) {
        int32_t row = h->spare[i];
        if (i < first || i >= last || row >= covered) {
            h->list[front++] = row;
        } else {
            h->spare[back++] = row;
        }
    }
    memcpy(h->list + front, h->spare, (size_t)back * sizeof *h->list);
    h->n_plain = h->n_fixed = front;
    h->scored = 0;
    h->m = -INFINITY;
}

void vattn_paper_proxies(struct vattn_head * h) {
    const struct vattn_selector * s = h->selector;
    const struct vattn_kv * kv = h->c->in.kv;
    int64_t n = kv->n_keys < s->n_keys ? kv->n_keys : s->n_keys;
    h->index_bytes = s->kind->score(s, kv, h->head, vattn_paper_query(h), n, h->proxy, h->work);
}

/* Rows above the cut join F, then rows at the cut as long as there is room; both keep their order, as the rest does. */
static void take_above(struct vattn_head * h, float cut, int64_t ties) {
    int64_t rest = 0;
    for (int64_t i = h->n_fixed, end = h->n; i < end; i++) {
        float x = h->proxy[h->list[i]];
        if (x > cut || (x == cut && ties-- > 0)) {
            h->list[h->n_fixed++] = h->list[i];
        } else {
            h->spare[rest++] = h->list[i];
        }
    }
    memcpy(h->list + h->n_fixed, h->spare, (size_t)rest * sizeof *h->list);
}

/* Proxies of the rows behind F, in list order; the score array is free until F is complete. */
static int64_t gather(struct vattn_head * h, float * to) {
    int64_t n = h->n - h->n_fixed;
    for (int64_t i = 0; i < n; i++) {
        to[i] = h->proxy[h->list[h->n_fixed + i]];
    }
    return n;
}

void vattn_paper_select_top_k(struct vattn_head * h, int64_t k) {
    int64_t n = gather(h, h->score), above = 0;
    if (k >= n) {
        h->n_fixed = h->n;
        return;
    }
    if (k < 1) {
        return;
    }
    float cut = vattn_top_k_cut(h->score, n, k);
    for (int64_t i = 0; i < n; i++) {
        above += h->score[i] > cut;
    }
    take_above(h, cut, k - above);
}

static int falling(const void * a, const void * b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* The proxies are exact scores without their scale here. */
void vattn_paper_select_top_p(struct vattn_head * h, double top_p) {
    int64_t n = gather(h, h->score), i = 0;
    double scale = (double)h->c->plan->q_scale, total = 0.0, sum = 0.0;
    if (n == 0) {
        return;
    }
    qsort(h->score, (size_t)n, sizeof *h->score, falling);
    for (int64_t j = n - 1; j >= 0; j--) {
        total += exp2(scale * ((double)h->score[j] - (double)h->score[0]));
    }
    for (; i < n; i++) {
        sum += exp2(scale * ((double)h->score[i] - (double)h->score[0]));
        if (sum >= top_p * total) {
            break;
        }
    }
    take_above(h, h->score[i < n ? i : n - 1], n); /* all ties at the threshold */
}

void vattn_paper_select_at_least(struct vattn_head * h, float least) {
    take_above(h, least, h->n);
}
