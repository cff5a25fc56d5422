/* SPDX-License-Identifier: MIT
 * The command with a library that cheats, to see that the laboratory finds it out.
 *
 * The linker puts these functions in front of the library's own (--wrap), so that the library itself has no hooks; the
 * variable VATTN_CHEAT says which one cheats, and without it every call goes through. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/index.h"
#include "sparse/sparse.h"

static bool cheating(const char * name) {
    const char * wanted = getenv("VATTN_CHEAT");
    return wanted != NULL && strcmp(wanted, name) == 0;
}

/* A misspelt cheat would look like an honest library. */
__attribute__((constructor)) static void check_name(void) {
    static const char * const names[] = {"weights",     "peeking",     "quantile",
                                         "frozen-seed", "no-fallback", "half-variance",
                                         "reach"};
    bool known = getenv("VATTN_CHEAT") == NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        known |= cheating(names[i]);
    if (!known) {
        fprintf(stderr, "VATTN_CHEAT: no such cheat\n");
        exit(2);
    }
}

/* frozen-seed: every call draws the same random numbers. */
enum vattn_status __real_vattn_call_begin(const struct vattn_plan *, const struct vattn_input *, void *, size_t,
                                          struct vattn_call **);
enum vattn_status __wrap_vattn_call_begin(const struct vattn_plan *, const struct vattn_input *, void *, size_t,
                                          struct vattn_call **);
enum vattn_status __wrap_vattn_call_begin(const struct vattn_plan * plan, const struct vattn_input * input, void * work,
                                          size_t bytes, struct vattn_call ** call) {
    struct vattn_input frozen = *input;
    frozen.nonce = cheating("frozen-seed") ? 0 : input->nonce;
    return __real_vattn_call_begin(plan, &frozen, work, bytes, call);
}

/* quantile: the error is compared with its median instead of its 1 - delta quantile. */
void __real_vattn_quantile_init(struct vattn_quantile *, double);
void __wrap_vattn_quantile_init(struct vattn_quantile *, double);
void __wrap_vattn_quantile_init(struct vattn_quantile * table, double delta) {
    __real_vattn_quantile_init(table, cheating("quantile") ? 0.5 : delta);
    table->delta = delta;
}

/* half-variance: the certificate believes in half of the variance that was estimated. */
double __real_vattn_evidence_bound(const struct vattn_evidence *, const struct vattn_quantile *, int32_t, double);
double __wrap_vattn_evidence_bound(const struct vattn_evidence *, const struct vattn_quantile *, int32_t, double);
double __wrap_vattn_evidence_bound(const struct vattn_evidence * e, const struct vattn_quantile * table, int32_t dim,
                                   double fall) {
    const double bound = __real_vattn_evidence_bound(e, table, dim, fall);
    return cheating("half-variance") ? bound * sqrt(0.5) : bound;
}

/* reach: strict mode believes that every score is what its proxy says. */
void __real_vattn_reach_tables(const struct vattn_index *, int32_t, struct vattn_reach_tables *);
void __wrap_vattn_reach_tables(const struct vattn_index *, int32_t, struct vattn_reach_tables *);
void __wrap_vattn_reach_tables(const struct vattn_index * x, int32_t g, struct vattn_reach_tables * out) {
    __real_vattn_reach_tables(x, g, out);
    for (int i = 0; i < 256 && cheating("reach"); i++)
        out->residual[i] = out->unlikely[i] = 0;
}

/* no-fallback: a KV head that fails returns its estimate instead of looking again or being exact, and calls it certified. */
void __real_vattn_sparse_decide(struct vattn_call *, int32_t);
void __wrap_vattn_sparse_decide(struct vattn_call *, int32_t);
void __wrap_vattn_sparse_decide(struct vattn_call * c, int32_t g) {
    __real_vattn_sparse_decide(c, g);
    if (cheating("no-fallback"))
        c->sparse->groups[g].state = VATTN_GROUP_DONE;
}

/* peeking: rows that the first look happened to read count as read for certain at the next, "we have them anyway". */
void __real_vattn_sparse_design(struct vattn_call *, int32_t);
void __wrap_vattn_sparse_design(struct vattn_call *, int32_t);
void __wrap_vattn_sparse_design(struct vattn_call * c, int32_t g) {
    struct vattn_sparse * s = c->sparse;
    for (int32_t k = 0; k < s->n_chunks && s->groups[g].looks > 0 && cheating("peeking"); k++) {
        const int32_t * rows = vattn_sparse_slot(s, g)->rows + vattn_sparse_list(s, k);
        for (int32_t j = 0; j < vattn_sparse_chunk(s, g, k)->n_tail; j++)
            s->sure[rows[j] / 16] = (uint16_t)(s->sure[rows[j] / 16] | 1U << (rows[j] % 16));
    }
    __real_vattn_sparse_design(c, g);
}

/* weights: rows read by chance weigh 3 % more than 1/pi. */
void __real_vattn_sparse_gather(struct vattn_call *, int32_t, int32_t);
void __wrap_vattn_sparse_gather(struct vattn_call *, int32_t, int32_t);
void __wrap_vattn_sparse_gather(struct vattn_call * c, int32_t g, int32_t chunk) {
    const float off = 0.03F;
    struct vattn_sparse * s = c->sparse;
    __real_vattn_sparse_gather(c, g, chunk);
    if (!cheating("weights") || s->groups[g].state != VATTN_GROUP_OPEN || vattn_sparse_chunk(s, g, chunk)->n_rows == 0)
        return;
    const int32_t head = g * c->plan->group, n = vattn_sparse_chunk(s, g, chunk)->n_tail;
    struct vattn_partial p = vattn_sparse_partial(c, chunk, head);
    struct vattn_rows v = vattn_v_rows(c->in.kv, g);
    float * w = vattn_sparse_weights(c, head, chunk);
    v.index = vattn_sparse_slot(s, g)->rows + vattn_sparse_list(s, chunk);
    v.n = n;
    for (int32_t i = 0; i < c->plan->group; i++)
        for (int32_t j = 0; j < n; j++) {
            w[(size_t)i * (size_t)s->ld + (size_t)j] *= off;
            p.d[i] += w[(size_t)i * (size_t)s->ld + (size_t)j];
        }
    vattn_plan_accumulate(c->plan, &v, w, s->ld, c->plan->group, p.n);
    for (int32_t i = 0; i < c->plan->group; i++)
        for (int32_t j = 0; j < n; j++)
            w[(size_t)i * (size_t)s->ld + (size_t)j] *= (1 + off) / off;
}
