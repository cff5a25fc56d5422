/* SPDX-License-Identifier: MIT */
#include "selector_make.h"

#include "complain.h"
#include "hash_weights.h"

static enum vattn_method kind_of(enum vattn_method method, const struct method_parameters * parameters) {
    const struct method_entry * entry = method_entry_of(method);
    const enum vattn_method wanted = parameters->selector.kind;
    if (wanted != VATTN_METHOD_EXACT && entry->index != INDEX_CHOICE)
        give_up("--param selector: method %s has none to choose; leave it out", entry->name);
    if (entry->index == INDEX_SELECTOR || method == VATTN_METHOD_TOPP_ORACLE)
        return method;
    return entry->index == INDEX_CHOICE ? wanted : VATTN_METHOD_EXACT;
}

enum vattn_status selector_try(const struct vattn_plan * plan, const struct method_parameters * parameters,
                               const struct vattn_kv * kv, int32_t layer, const float * moment,
                               struct vattn_selector ** selector) {
    const struct vattn_options * o = vattn_plan_options(plan);
    struct vattn_selector_options options = parameters->selector;
    struct hash_weights weights;
    enum vattn_status status;
    bool learned;
    options.kind = kind_of(o->method, parameters);
    options.seed = o->seed;
    *selector = NULL;
    if (options.kind == VATTN_METHOD_EXACT)
        return VATTN_STATUS_OK;
    learned = options.kind == VATTN_METHOD_HASH && parameters->hash_weights != NULL;
    if (learned) {
        hash_weights_open(parameters->hash_weights, layer, o->n_heads, o->n_kv_heads, o->head_dim, &weights);
        options.hash_weights = &weights.weights;
    }
    status = vattn_selector_create(plan, kv, &options, moment, selector);
    if (learned)
        hash_weights_close(&weights);
    return status;
}

struct vattn_selector * selector_make(const struct vattn_plan * plan, const struct method_parameters * parameters,
                                      const struct vattn_kv * kv, int32_t layer, const float * moment,
                                      const char * what) {
    struct vattn_selector * selector;
    const enum vattn_status status = selector_try(plan, parameters, kv, layer, moment, &selector);
    if (status < 0)
        give_up("%s: no index of method %s: %s; check the values of --param", what,
                vattn_method_name(vattn_plan_options(plan)->method), vattn_status_name(status));
    return selector;
}
