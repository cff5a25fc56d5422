/* SPDX-License-Identifier: MIT
 *
 * Quest (arXiv 2406.10774): pages of neighbouring rows, each with the smallest and the largest value of every channel.
 * A page is as good as its best key could be,
 *
 *     score(page) = sum_d max(q_d low_d, q_d high_d) >= <q, k>   for every key k of the page
 *
 * which is <q+, high> + <q-, low> with the positive and the negative part of q.  Rows of a page share its score.
 */
#include <stdlib.h>

#include "select/rows.h"

struct pages {
    int64_t n;        /* of a KV head; the last one may be short */
    char *low, *high; /* [n_kv_heads][n][head_dim] in the type of the keys, of which they are copies */
};

static int64_t pages_of(const struct vattn_selector * s, int64_t rows) {
    return (rows + s->opt.page - 1) / s->opt.page;
}

static size_t row_bytes(const struct vattn_selector * s) {
    return vattn_row_size(s->plan->opt.k_type, s->plan->opt.head_dim);
}

/* ---------------------------------------------------------------------------------------------------------- build */

static void release(struct vattn_selector * s) {
    struct pages * p = s->state;
    if (p != NULL) {
        free(p->low);
        free(p->high);
        free(p);
    }
    s->state = NULL;
}

static enum vattn_status allocate(struct vattn_selector * s) {
    struct pages * p = s->state = calloc(1, sizeof *p);
    if (p == NULL) {
        return VATTN_STATUS_NO_MEMORY;
    }
    p->n = pages_of(s, s->n_keys);
    size_t bytes = (size_t)s->plan->opt.n_kv_heads * (size_t)p->n * row_bytes(s);
    p->low = malloc(bytes);
    p->high = malloc(bytes);
    s->index_bytes = 2 * bytes;
    return p->low != NULL && p->high != NULL ? VATTN_STATUS_OK : VATTN_STATUS_NO_MEMORY;
}

/* Exact: x was an element of that type. */
static void store(const struct vattn_selector * s, const float * x, char * to) {
    for (int32_t d = 0; d < s->plan->opt.head_dim; d++) {
        if (s->plan->opt.k_type == VATTN_TYPE_F32) {
            ((float *)(void *)to)[d] = x[d];
        } else {
            ((uint16_t *)(void *)to)[d] = vattn_half_from_float(x[d]);
        }
    }
}

static bool bound_page(struct vattn_selector * s, const struct vattn_kv * kv, int32_t g, int64_t page) {
    const struct pages * p = s->state;
    int64_t begin = page * s->opt.page, end = begin + s->opt.page;
    size_t at = ((size_t)g * (size_t)p->n + (size_t)page) * row_bytes(s);
    float low[VATTN_MAX_DIM], high[VATTN_MAX_DIM], x[VATTN_MAX_DIM];
    bool finite = vattn_key_floats(s, kv, g, begin, low) && vattn_key_floats(s, kv, g, begin, high);
    for (int64_t r = begin + 1; r < end && r < s->n_keys; r++) {
        finite = vattn_key_floats(s, kv, g, r, x) && finite;
        for (int32_t d = 0; d < s->plan->opt.head_dim; d++) {
            low[d] = x[d] < low[d] ? x[d] : low[d];
            high[d] = x[d] > high[d] ? x[d] : high[d];
        }
    }
    store(s, low, p->low + at);
    store(s, high, p->high + at);
    return finite;
}

static enum vattn_status build(struct vattn_selector * s, const struct vattn_kv * kv, const float * q_second_moment) {
    (void)q_second_moment;
    enum vattn_status status = allocate(s);
    for (int32_t g = 0; g < s->plan->opt.n_kv_heads && status == VATTN_STATUS_OK; g++) {
        for (int64_t page = 0; page < pages_of(s, s->n_keys) && status == VATTN_STATUS_OK; page++) {
            status = bound_page(s, kv, g, page) ? VATTN_STATUS_OK : VATTN_STATUS_NOT_FINITE;
        }
    }
    return status;
}

/* ---------------------------------------------------------------------------------------------------------- score */

/* Both parts of the query, and both sums of every page. */
static size_t work_bytes(const struct vattn_selector * s) {
    return 2 * ((size_t)s->plan->opt.head_dim + (size_t)pages_of(s, s->n_keys)) * sizeof(float);
}

static void score_pages(const struct vattn_selector * s, const char * bounds, int32_t g, int64_t n, const float * q,
                        float * score) {
    const struct pages * p = s->state;
    const struct vattn_rows rows = {
        .base = bounds + (size_t)g * (size_t)p->n * row_bytes(s), .stride = row_bytes(s), .n = (int32_t)n};
    vattn_plan_score(s->plan, &rows, q, 1, score, n);
}

static int64_t score_rows(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q,
                          int64_t n, float * score, void * work) {
    (void)kv;
    const struct pages * p = s->state;
    int32_t dim = s->plan->opt.head_dim, g = head / s->plan->group;
    int64_t n_pages = pages_of(s, n);
    float *positive = work, *negative = positive + dim, *up = negative + dim, *down = up + p->n;
    for (int32_t d = 0; d < dim; d++) {
        positive[d] = q[d] > 0.0F ? q[d] : 0.0F;
        negative[d] = q[d] < 0.0F ? q[d] : 0.0F;
    }
    score_pages(s, p->high, g, n_pages, positive, up);
    score_pages(s, p->low, g, n_pages, negative, down);
    for (int64_t r = 0; r < n; r++) {
        score[r] = up[r / s->opt.page] + down[r / s->opt.page];
    }
    return vattn_selector_shared(s, head, 2 * n_pages * (int64_t)row_bytes(s));
}

/* Whole pages, at least k rows. */
static int64_t budget(const struct vattn_selector * s, int64_t k) {
    return pages_of(s, k) * s->opt.page;
}

const struct vattn_selector_kind vattn_selector_quest = {
    .name = VATTN_METHOD_QUEST,
    .cuts_rows = true,
    .build = build,
    .release = release,
    .work_bytes = work_bytes,
    .score = score_rows,
    .budget = budget,
};
