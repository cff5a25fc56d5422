/* SPDX-License-Identifier: MIT
 *
 * Never slower than exact (option `fastest`): a KV head is answered exactly where the model of cost says that this is far shorter
 * than sampling, before the sample is read, and a whole layer where its last call was slower.  What was spent on finding out is
 * kept small by a pause that doubles each time: during it the KV head, or the layer, is exact from the start.
 *
 *     sampled  ~  start + scan n + looks (look + draw n + key E[keys] + value E[rows])
 *                 E from the subsample:  keys: sum L(max_h(P_h - tk_h)), rows: with t_h
 *     exact    ~  dense n
 *
 * Before a look only what is still to come counts; afterwards, everything.
 */
#include "sparse/sparse.h"

#include <math.h>

#include "base/sums.h"
#include "call/state.h"
#include "kernels/generic/probability_generic.h"

#define ALONE       2.0 /* a single KV head: dense attention is made for all heads of a tile, and the sample tells rows only roughly */
#define TOGETHER    1.1 /* all KV heads of a layer */
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

/* Of one look; both numbers are those of all rows it reads. */
static double look_cost(const struct vattn_call * c, double keys, double values) {
    const struct vattn_cost * cost = &c->plan->cost;
    return cost->look + (double)c->n_visible * cost->draw + keys * cost->key + values * cost->value;
}

static double dense_cost(const struct vattn_call * c) {
    return (double)c->n_visible * c->plan->cost.dense;
}

bool vattn_sparse_too_slow(const struct vattn_call * c, int32_t g) {
    if (!c->plan->opt.fastest) {
        return false;
    }
    const struct vattn_sparse * s = c->sparse;
    int32_t head = g * c->plan->group;
    double keys = expected(c, g, s->key_thresholds + head, c->in.index->books[g].lift);
    double rows = expected(c, g, s->thresholds + head, 0.0F);
    return look_cost(c, keys, fmin(rows, keys)) > ALONE * dense_cost(c);
}

static struct vattn_pace * pace_of(struct vattn_call * c, int32_t g) {
    return c->plan->opt.fastest && c->in.state != NULL ? &vattn_state_paces(c->in.state)[g] : NULL;
}

static bool pauses(struct vattn_pace * pace) {
    if (pace == NULL || pace->left == 0) {
        return false;
    }
    pace->left--;
    return true;
}

bool vattn_sparse_pauses(struct vattn_call * c, int32_t g) {
    return pauses(pace_of(c, g));
}

bool vattn_sparse_layer_pauses(struct vattn_call * c) {
    return pauses(pace_of(c, c->plan->opt.n_kv_heads));
}

static void remember(struct vattn_pace * pace, bool won) {
    if (pace != NULL) {
        pace->pause = won ? 0 : 2 * pace->pause + 1 < PAUSE_MOST ? 2 * pace->pause + 1 : PAUSE_MOST;
        pace->left = pace->pause;
    }
}

void vattn_sparse_lost(struct vattn_call * c, int32_t g) {
    remember(pace_of(c, g), false);
}

/* What a KV head's call cost.  What earlier looks read lies in cache when a later one reads it again: about half of the price. */
static double sampled_cost(const struct vattn_call * c, int32_t g) {
    const struct vattn_group * group = &c->sparse->groups[g];
    const struct vattn_cost * cost = &c->plan->cost;
    double scanned = group->scanned ? cost->start + (double)c->n_visible * cost->scan : 0.0;
    double dense = group->state == VATTN_GROUP_EXACT ? ALONE * dense_cost(c) : 0.0;
    double looks = group->looks > 0 ? 0.5 * (group->looks + 1.0) : 0.0;
    return scanned + looks * look_cost(c, (double)group->keys_read, (double)group->rows_read) + dense;
}

void vattn_sparse_compare(struct vattn_call * c, int32_t g) {
    remember(pace_of(c, g), sampled_cost(c, g) < ALONE * dense_cost(c));
}

void vattn_sparse_settle(struct vattn_call * c) {
    const int32_t n = c->plan->opt.n_kv_heads;
    double sampled = 0.0;
    for (int32_t g = 0; g < n; g++) {
        sampled += sampled_cost(c, g);
    }
    remember(pace_of(c, n), sampled < TOGETHER * (double)n * dense_cost(c));
}
