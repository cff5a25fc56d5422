/* SPDX-License-Identifier: MIT
 *
 * A selector: an index over the rows of one layer that gives every row a proxy score for one query.
 * One file per kind; the rule that turns scores into rows is the caller's (src/paper).
 */
#ifndef VATTN_SELECTOR_H
#define VATTN_SELECTOR_H

#include "plan/plan.h"
#include "vattn_experimental.h"

struct vattn_selector;

struct vattn_selector_kind {
    enum vattn_method name;
    bool reads_keys; /* an oracle: score() looks at every key, and keeps no index */
    bool cuts_rows;  /* works on parts of keys in their type, which is therefore F32 or F16 */

    /* Build s->state over rows [0, s->n_keys) of all KV heads and set s->index_bytes.  Allocates. */
    enum vattn_status (*build)(struct vattn_selector * s, const struct vattn_kv * kv, const float * q_second_moment);
    void (*release)(struct vattn_selector * s); /* what build made; also after a failed build */

    /* Scratch of one score() call. */
    size_t (*work_bytes)(const struct vattn_selector * s);

    /*
     * score[i] for rows i in [0, n), n <= s->n_keys: higher = more relevant; any monotone scale.
     * q [head_dim] of query head `head`, not multiplied by the scale.  Rows are those of KV head `head` / group.
     * Returns the bytes read to know the scores.  What one pass reads for all heads of a group is counted for the first of
     * them alone (vattn_selector_shared); what depends on the head is counted for each.  Keys of the cache itself do
     * not count here (reads_keys).
     * Threads may call it at once with different work.
     */
    int64_t (*score)(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q, int64_t n,
                     float * score, void * work);

    /* Rows to select when k are asked for (whole pages, at least so many); NULL = k. */
    int64_t (*budget)(const struct vattn_selector * s, int64_t k);
};

struct vattn_selector {
    const struct vattn_plan * plan;
    struct vattn_selector_options opt; /* defaults filled in */
    const struct vattn_selector_kind * kind;
    int64_t n_keys;
    size_t index_bytes;
    void * state; /* of the kind */
};

/* Bytes that a group reads once: all for its first head, none for the others. */
static inline int64_t vattn_selector_shared(const struct vattn_selector * s, int32_t head, int64_t bytes) {
    return head % s->plan->group == 0 ? bytes : 0;
}

/* NULL if the method is no selector. */
const struct vattn_selector_kind * vattn_selector_kind_of(enum vattn_method method);

extern const struct vattn_selector_kind vattn_selector_topk_oracle;
extern const struct vattn_selector_kind vattn_selector_topp_oracle; /* the same scores; top_p decides how many */
extern const struct vattn_selector_kind vattn_selector_quest;
extern const struct vattn_selector_kind vattn_selector_double_sparsity;
extern const struct vattn_selector_kind vattn_selector_pq;
extern const struct vattn_selector_kind vattn_selector_hash;
extern const struct vattn_selector_kind vattn_selector_socket;
extern const struct vattn_selector_kind vattn_selector_magicpig; /* score = number of collisions */

#endif
