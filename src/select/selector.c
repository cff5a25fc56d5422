/* SPDX-License-Identifier: MIT
 *
 * Selectors: options, defaults, and the table of kinds.
 */
#include "select/selector.h"

#include <math.h>
#include <stdlib.h>

/* One line per kind; each kind is a file of its own in this folder. */
static const struct vattn_selector_kind * const kinds[] = {
    &vattn_selector_topk_oracle,
    &vattn_selector_topp_oracle,
    &vattn_selector_quest,
    &vattn_selector_double_sparsity,
    &vattn_selector_pq,
    &vattn_selector_hash,
    &vattn_selector_magicpig,
    &vattn_selector_socket,
};

const struct vattn_selector_kind * vattn_selector_kind_of(enum vattn_method method) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i]->name == method) {
            return kinds[i];
        }
    }
    return NULL;
}

static void fill(int32_t * option, int32_t fallback) {
    *option = *option == 0 ? fallback : *option;
}

static void fill_defaults(struct vattn_selector_options * o, int32_t head_dim) {
    o->top_p = o->top_p == 0.0 ? 0.9 : o->top_p;
    fill(&o->page, 16);
    fill(&o->group_factor, head_dim < 16 ? head_dim : 16);
    fill(&o->label_bits, 4);
    fill(&o->pq_groups, head_dim < 2 ? head_dim : 2);
    fill(&o->pq_bits, 6);
    fill(&o->pq_iterations, 10);
    fill(&o->hash_bits, 32);
    fill(&o->lsh_k, 10);
    fill(&o->lsh_l, 150);
    fill(&o->lsh_collisions, 2);
    fill(&o->socket_k, 10);
    fill(&o->socket_l, 60);
    o->socket_tau = o->socket_tau == 0.0 ? 0.3 : o->socket_tau;
}

static bool within(int32_t x, int32_t low, int32_t high) {
    return x >= low && x <= high;
}

static bool weights_fit(const struct vattn_hash_weights * w, int32_t head_dim) {
    if (!within(w->n_layers, 1, 3) || w->width[0] != head_dim || !within(w->width[w->n_layers], 1, 64)) {
        return false;
    }
    for (int32_t i = 0; i < w->n_layers; i++) {
        if (w->width[i + 1] < 1 || w->k_weight[i] == NULL || w->q_weight[i] == NULL) {
            return false;
        }
    }
    return true;
}

static bool options_fit(const struct vattn_selector_options * o, int32_t head_dim) {
    return o->top_p > 0.0 && o->top_p <= 1.0 && within(o->page, 1, 4096) && within(o->group_factor, 1, head_dim) &&
           within(o->label_bits, 1, 16) && within(o->pq_groups, 1, head_dim) && within(o->pq_bits, 1, 12) &&
           within(o->pq_iterations, 1, 1000) && within(o->hash_bits, 1, 64) && within(o->lsh_k, 1, 16) &&
           within(o->lsh_l, 1, 4096) && within(o->lsh_collisions, 1, o->lsh_l) && within(o->socket_k, 1, 12) &&
           within(o->socket_l, 1, 4096) && isfinite(o->socket_tau) && o->socket_tau > 0.0 &&
           (o->hash_weights == NULL || weights_fit(o->hash_weights, head_dim));
}

static bool input_fits(const struct vattn_plan * plan, const struct vattn_kv * kv) {
    size_t k_bytes = vattn_row_size(plan->opt.k_type, plan->opt.head_dim);
    return kv->n_keys >= 1 && kv->n_keys <= plan->opt.max_keys && kv->k != NULL &&
           (kv->n_keys == 1 || kv->k_row_stride >= k_bytes);
}

enum vattn_status vattn_selector_create(const struct vattn_plan * plan, const struct vattn_kv * kv,
                                        const struct vattn_selector_options * options,
                                        const float * q_second_moment, struct vattn_selector ** selector) {
    if (selector == NULL) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    *selector = NULL;
    if (plan == NULL || kv == NULL || options == NULL || options->struct_size != sizeof *options ||
        !input_fits(plan, kv)) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    struct vattn_selector_options o = *options;
    fill_defaults(&o, plan->opt.head_dim);
    if (!options_fit(&o, plan->opt.head_dim)) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    const struct vattn_selector_kind * kind = vattn_selector_kind_of(o.kind);
    if (kind == NULL || (kind->cuts_rows && plan->opt.k_type > VATTN_TYPE_F16)) {
        return VATTN_STATUS_UNSUPPORTED;
    }
    struct vattn_selector * s = calloc(1, sizeof *s);
    if (s == NULL) {
        return VATTN_STATUS_NO_MEMORY;
    }
    *s = (struct vattn_selector){.plan = plan, .opt = o, .kind = kind, .n_keys = kv->n_keys};
    enum vattn_status status = kind->build(s, kv, q_second_moment);
    s->opt.hash_weights = NULL; /* the caller's, copied by build */
    if (status != VATTN_STATUS_OK) {
        vattn_selector_free(s);
        return status;
    }
    *selector = s;
    return VATTN_STATUS_OK;
}

void vattn_selector_free(struct vattn_selector * selector) {
    if (selector != NULL) {
        selector->kind->release(selector);
        free(selector);
    }
}

size_t vattn_selector_bytes(const struct vattn_selector * selector) {
    return selector == NULL ? 0 : selector->index_bytes;
}
