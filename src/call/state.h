/* SPDX-License-Identifier: MIT
 *
 * The controller of one layer: what earlier steps taught about each head, relative to its predicted denominator.
 */
#ifndef VATTN_STATE_H
#define VATTN_STATE_H

#include "vattn.h"

struct vattn_learned {
    int32_t steps;
    float log2_factor; /* measured variance over the design's prediction, in units of ||o||^2 / D^2 */
    float threshold;   /* t - log2 D */
    float cap;         /* largest t that the weight guard allowed, - log2 D */
    float key_cap;     /* the same for reading keys */
};

/* One KV head: how long it is answered exactly because sampling was slower. */
struct vattn_pace {
    int32_t pause; /* calls, last time */
    int32_t left;  /* of them still to come */
};

struct vattn_state {
    int32_t n_heads;
    struct vattn_learned heads[]; /* [n_heads], then struct vattn_pace [n_kv_heads] */
};

static inline struct vattn_pace * vattn_state_paces(struct vattn_state * s) {
    return (struct vattn_pace *)(void *)(s->heads + s->n_heads);
}

#endif
