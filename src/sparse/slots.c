/* SPDX-License-Identifier: MIT
 *
 * Slots of scratch memory for the KV heads in work.  There is one for every KV head (in lock step all are in work at once);
 * where threads run freely, only about as many as threads are ever touched.
 */
#include "sparse/sparse.h"

/* The slot that this thread took last is probably still in its cache.  A hint: results do not depend on it. */
static _Thread_local int32_t last_slot;

void vattn_sparse_free_slots(struct vattn_call * c) {
    int32_t n = c->plan->opt.n_kv_heads;
    for (int32_t w = 0; w * 64 < n; w++) {
        int32_t left = n - w * 64;
        atomic_init(&c->sparse->free_slots[w], left < 64 ? (UINT64_C(1) << left) - 1 : ~UINT64_C(0));
    }
}

/* True if the slot was free and is ours now. */
static bool take(struct vattn_sparse * s, int32_t slot) {
    uint64_t bit = UINT64_C(1) << (slot % 64);
    return (atomic_fetch_and_explicit(&s->free_slots[slot / 64], ~bit, memory_order_acquire) & bit) != 0;
}

void vattn_sparse_take_slot(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    int32_t n = c->plan->opt.n_kv_heads, slot = last_slot < n ? last_slot : 0;
    while (!take(s, slot)) { /* one of n is free: each KV head has at most one */
        slot = slot + 1 < n ? slot + 1 : 0;
    }
    last_slot = slot;
    s->groups[g].slot = slot;
    s->groups[g].has_slot = true;
}

void vattn_sparse_leave_slot(struct vattn_call * c, int32_t g) {
    struct vattn_group * group = &c->sparse->groups[g];
    if (group->has_slot) {
        group->has_slot = false;
        atomic_fetch_or_explicit(&c->sparse->free_slots[group->slot / 64], UINT64_C(1) << (group->slot % 64),
                                 memory_order_release);
    }
}
