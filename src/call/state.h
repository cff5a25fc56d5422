/* SPDX-License-Identifier: MIT
 *
 * The controller of one layer: per head, the number of draws that the last steps needed.
 */
#ifndef VATTN_STATE_H
#define VATTN_STATE_H

#include "vattn.h"

struct vattn_state {
    int32_t n_heads;
    int32_t steps;     /* sparse steps seen */
    float log2_draws[]; /* [n_heads] expected tail draws of the head's own design that would have been enough */
};

#endif
