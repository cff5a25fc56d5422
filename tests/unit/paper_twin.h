/* SPDX-License-Identifier: MIT
 *
 * The double-precision twin of the methods of comparison, written from their definitions (src/paper/rules.h) and to be
 * read: sets, budgets, weights and output of one head, given the same random numbers.
 */
#ifndef VATTN_TEST_PAPER_TWIN_H
#define VATTN_TEST_PAPER_TWIN_H

#include "unit/layer.h"

struct paper_case {
    enum vattn_method method;
    int32_t head;
    uint64_t nonce;
    double top_p;         /* topp-oracle */
    const float * proxy;  /* [n] what the selector says; NULL = exact scores */
    const double * within; /* [n] probability of each row that magicpig may take; 0 = it is not taken */
    int64_t covered;      /* rows that the selector knows; the others are read for certain */
    int64_t budget;       /* to follow where rounding makes the twin's own differ by one; -1 = none */
    struct paper_case * other; /* by scores, shared: the other head of the group; NULL = each head uses its own rows */
};

struct paper_twin {
    int64_t visible, n_fixed, pilot, budget; /* budget: the twin's own */
    double * inverse; /* [n] weight of each row in units of its e; 0 = not used */
    double * o;       /* [v_dim] */
    double log_d;
};

void paper_twin(const struct layer * l, const struct paper_case * which, struct paper_twin * t);
void paper_twin_free(struct paper_twin * t);

/* 1 - sum_{j < least} of the binomial probabilities of j tables of l, each colliding with probability (1 - angle/pi)^k */
double twin_inclusion(double angle, int k, int l, int least);

#endif
