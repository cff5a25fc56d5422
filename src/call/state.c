/* SPDX-License-Identifier: MIT */
#include "call/state.h"

#include <string.h>

#include "plan/plan.h"

size_t vattn_state_bytes(const struct vattn_plan * plan) {
    return sizeof(struct vattn_state) + (size_t)plan->opt.n_heads * sizeof(struct vattn_learned) +
           ((size_t)plan->opt.n_kv_heads + 1) * sizeof(struct vattn_pace);
}

struct vattn_state * vattn_state_init(const struct vattn_plan * plan, void * memory) {
    struct vattn_state * s = memory;
    if (s == NULL || (uintptr_t)memory % _Alignof(struct vattn_state) != 0) {
        return NULL;
    }
    memset(s, 0, vattn_state_bytes(plan));
    s->n_heads = plan->opt.n_heads;
    return s;
}
