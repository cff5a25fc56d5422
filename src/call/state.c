/* SPDX-License-Identifier: MIT */
#include "call/state.h"

#include "plan/plan.h"

size_t vattn_state_bytes(const struct vattn_plan * plan) {
    return sizeof(struct vattn_state) + (size_t)plan->opt.n_heads * sizeof(float);
}

struct vattn_state * vattn_state_init(const struct vattn_plan * plan, void * memory) {
    struct vattn_state * s = memory;
    if (s == NULL || (uintptr_t)memory % _Alignof(struct vattn_state) != 0) {
        return NULL;
    }
    s->n_heads = plan->opt.n_heads;
    s->steps = 0;
    for (int32_t h = 0; h < s->n_heads; h++) {
        s->log2_draws[h] = 0.0F;
    }
    return s;
}
