/* SPDX-License-Identifier: MIT
 *
 * What the certificates of a finished call rest on, for those who test them.
 */
#include <math.h>

#include <vattn_experimental.h>

#include "call/call.h"
#include "paper/paper.h"
#include "sparse/sparse.h"
#include "strict/strict.h"

void vattn_call_keep_claims(struct vattn_call * c) {
    c->keeps_claims = true;
}

bool vattn_call_claim(const struct vattn_call * c, int32_t head, struct vattn_claim * out) {
    if (c == NULL || out == NULL || !c->keeps_claims || c->phase != VATTN_PHASE_END || head < -1 || head >= c->plan->opt.n_heads ||
        !c->sparse_used || c->sparse == NULL || (head < 0 && c->plan->opt.scope != VATTN_SCOPE_LAYER)) {
        return false;
    }
    struct vattn_evidence e = head < 0 ? c->sparse->layer : c->sparse->heads[head].evidence;
    bool sampled = false;
    for (int32_t h = head < 0 ? 0 : head; h <= (head < 0 ? c->plan->opt.n_heads - 1 : head); h++) {
        sampled = sampled || c->cert[h].answer == VATTN_ANSWER_CERTIFIED;
    }
    if (!sampled) {
        return false;
    }
    if (head >= 0) {
        e.trace2 = c->sparse->heads[head].claim_trace2;
        e.top = c->sparse->heads[head].claim_top;
    }
    *out = (struct vattn_claim){.variance = e.v,
                                        .norm = sqrt(e.o2),
                                        .bias = sqrt(e.a0 * e.v),
                                        .nu = vattn_evidence_nu(&e, c->plan->delta_head, c->plan->opt.v_dim),
                                        .neff = vattn_evidence_neff(&e),
                                        .draws = e.draws};
    return true;
}

bool vattn_call_log_denominator(const struct vattn_call * c, int32_t head, double * log_d) {
    if (c == NULL || log_d == NULL || c->phase != VATTN_PHASE_END || head < 0 || head >= c->plan->opt.n_heads ||
        c->n_visible == 0) {
        return false;
    }
    int32_t g = head / c->plan->group, i = head % c->plan->group;
    double log2_d;
    if (c->paper != NULL) {
        log2_d = c->paper->heads[head].log2_d;
    } else if (c->dense[g]) {
        struct vattn_partial sum = vattn_call_partial(c, 0, g); /* merged into the first chunk */
        log2_d = (double)sum.m[i] + log2((double)sum.d[i]);
    } else if (c->strict != NULL) {
        log2_d = c->strict->heads[head].log2_d;
    } else {
        log2_d = (double)c->sparse->heads[head].log2_d;
    }
    *log_d = log2_d / VATTN_LOG2E;
    return true;
}
