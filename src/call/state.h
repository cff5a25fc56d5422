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

struct vattn_state {
    int32_t n_heads;
    struct vattn_learned heads[];
};

#endif
