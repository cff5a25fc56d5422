/* SPDX-License-Identifier: MIT
 *
 * Never slower than exact (option `fastest`): a KV head is answered exactly where the model of cost says that this is shorter
 * than sampling, before the sample is read.  What was spent on finding out is kept small by a pause that doubles each time:
 * during it the KV head is exact from the start.
 *
 *     a look   ~  draw n + key E[keys] + value E[rows],    E from the subsample:  keys: sum L(max_h(P_h - tk_h)), rows: with t_h
 *     exact    ~  dense n
 */
#include "sparse/sparse.h"

#include <math.h>

#include "base/sums.h"
#include "call/state.h"
#include "kernels/generic/probability_generic.h"

#define CLEARLY     1.5 /* so much longer must a look seem than dense attention: the subsample tells keys and rows only roughly */
#define PAUSE_MOST  63  /* calls */

/* x = max_h(score_h + lift - threshold_h), at least -126, of the rows of the subsample */
static void best_margins(const float * score, int64_t ld, const float * threshold, float lift, int32_t n_heads, int32_t n,
                         float * x) {
    for (int32_t j = 0; j < n; j++) {
        x[j] = -126.0F;
    }
    for (int32_t i = 0; i < n_heads; i++, score += ld) {
        for (int32_t j = 0; j < n; j++) {
            float above = score[j] + lift - threshold[i];
            x[j] = above > x[j] ? above : x[j];
        }
    }
}

/* Rows of the cache expected to be drawn with these thresholds, by chance or not; lift: added to all scores.  The subsample is
 * padded to eights. */
static double expected(const struct vattn_call * c, int32_t g, const float * threshold, float lift) {
    const struct vattn_sparse * s = c->sparse;
    const struct vattn_slot * slot = vattn_sparse_slot(s, g);
    int32_t n = s->sample_n[g];
    float *x = slot->spare, sum[8] = {0}; /* the lists are empty until GATHER */
    best_margins(slot->sample, s->sample_ld, threshold, lift, c->plan->group, n, x);
    for (int32_t j = 0; j < n; j++) {
        float likely = vattn_likelihood(x[j]);
        x[j] = slot->sample[j] < INFINITY ? likely : 0.0F; /* not the padding */
    }
    for (int32_t j = 0; j < n; j++) {
        sum[j % 8] += x[j];
    }
    return (double)(vattn_sum8(sum) * s->sample_scale[g]);
}

static double look_cost(const struct vattn_call * c, int32_t g) {
    const struct vattn_sparse * s = c->sparse;
    const struct vattn_cost * cost = &c->plan->cost;
    int32_t head = g * c->plan->group;
    double keys = expected(c, g, s->key_thresholds + head, c->in.index->books[g].lift);
    double rows = expected(c, g, s->thresholds + head, 0.0F);
    return (double)c->n_visible * cost->draw + keys * cost->key + fmin(rows, keys) * cost->value;
}

bool vattn_sparse_too_slow(const struct vattn_call * c, int32_t g) {
    return c->plan->opt.fastest &&
           look_cost(c, g) > CLEARLY * (double)c->n_visible * c->plan->cost.dense;
}

bool vattn_sparse_pauses(struct vattn_call * c, int32_t g) {
    if (!c->plan->opt.fastest || c->in.state == NULL) {
        return false;
    }
    struct vattn_pace * pace = &vattn_state_paces(c->in.state)[g];
    if (pace->left == 0) {
        return false;
    }
    pace->left--;
    return true;
}

static void remember(struct vattn_call * c, int32_t g, bool won) {
    if (c->in.state != NULL) {
        struct vattn_pace * pace = &vattn_state_paces(c->in.state)[g];
        pace->pause = won ? 0 : 2 * pace->pause + 1 < PAUSE_MOST ? 2 * pace->pause + 1 : PAUSE_MOST;
        pace->left = pace->pause;
    }
}

void vattn_sparse_lost(struct vattn_call * c, int32_t g) {
    remember(c, g, false);
}

void vattn_sparse_compare(struct vattn_call * c, int32_t g) {
    const struct vattn_group * group = &c->sparse->groups[g];
    const struct vattn_cost * cost = &c->plan->cost;
    double n = (double)c->n_visible;
    double look = n * cost->draw + (double)group->keys_read * cost->key + (double)group->rows_read * cost->value;
    remember(c, g, n * cost->scan + (double)group->looks * look < CLEARLY * n * cost->dense);
}
