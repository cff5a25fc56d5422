/* SPDX-License-Identifier: MIT
 *
 * The controller of one layer: what earlier steps taught about each head, relative to what was predicted.
 */
#ifndef VATTN_STATE_H
#define VATTN_STATE_H

#include "vattn.h"

struct vattn_learned {
    int32_t steps;
    float log2_factor; /* measured variance over ||o||^2, relative to the design's prediction of both */
    float log2_c;      /* quantile that the variance was multiplied by; 0 = never measured */
    float threshold;   /* t - log2 D */
    float log2_output; /* ||o|| D relative to the prediction of both */
};

/* One KV head, or the layer: how long it is answered exactly because sampling was slower. */
struct vattn_pace {
    int32_t pause; /* calls, last time */
    int32_t left;  /* of them still to come */
};

struct vattn_state {
    int32_t n_heads;
    struct vattn_learned heads[]; /* [n_heads], then struct vattn_pace [n_kv_heads + 1], the last one for the layer */
};

static inline struct vattn_pace * vattn_state_paces(struct vattn_state * s) {
    return (struct vattn_pace *)(void *)(s->heads + s->n_heads);
}

#endif
