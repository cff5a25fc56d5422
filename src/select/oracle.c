/* SPDX-License-Identifier: MIT
 *
 * The oracles: exact scores of every key, no index.  What selection alone could reach at best.
 */
#include "select/selector.h"

static enum vattn_status build(struct vattn_selector * s, const struct vattn_kv * kv, const float * q_second_moment) {
    (void)kv, (void)q_second_moment;
    s->index_bytes = 0;
    return VATTN_STATUS_OK;
}

static void release(struct vattn_selector * s) {
    (void)s;
}

static size_t work_bytes(const struct vattn_selector * s) {
    (void)s;
    return 0;
}

/* Rows that are hidden from the query get a score, too; it means nothing. */
static int64_t score_rows(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q, int64_t n,
                     float * score, void * work) {
    (void)work;
    struct vattn_rows k = vattn_k_rows(kv, head / s->plan->group);
    k.n = (int32_t)n;
    vattn_plan_score(s->plan, &k, q, 1, score, n);
    return 0;
}

const struct vattn_selector_kind vattn_selector_topk_oracle = {
    .name = VATTN_METHOD_TOPK_ORACLE,
    .reads_keys = true,
    .build = build,
    .release = release,
    .work_bytes = work_bytes,
    .score = score_rows,
};

const struct vattn_selector_kind vattn_selector_topp_oracle = {
    .name = VATTN_METHOD_TOPP_ORACLE,
    .reads_keys = true,
    .build = build,
    .release = release,
    .work_bytes = work_bytes,
    .score = score_rows,
};
