/* SPDX-License-Identifier: MIT */
#include "select/magicpig.h"

#include "paper/rules.h"

static const double OFFSET = 1e-4; /* added to every probability, as the original does */

void vattn_rule_magicpig(struct vattn_head * h) {
    const struct vattn_selector * s = h->selector;
    double scale = (double)h->c->plan->q_scale;
    if (h->n_plain < h->n) {
        struct vattn_magicpig_query q = vattn_magicpig_query(s, h->kv_head, vattn_paper_query(h));
        vattn_paper_select_at_least(h, (float)s->opt.lsh_collisions);
        vattn_paper_score(h, h->n_fixed);
        for (int64_t i = h->n_plain; i < h->n_fixed; i++) {
            double w = vattn_magicpig_inclusion(s, h->kv_head, q, h->list[i], (double)h->score[i] / scale);
            h->inverse[i] = (float)(1.0 / (w + OFFSET));
        }
        h->index_bytes += 4 * (h->c->plan->opt.head_dim + h->n_fixed - h->n_plain); /* mean key, norms */
    }
    for (int64_t i = 0; i < h->n_plain; i++) {
        h->inverse[i] = 1.0F;
    }
    h->result->exact = h->n_plain == h->n;
    vattn_paper_output(h, h->n_fixed);
}
