/* SPDX-License-Identifier: MIT */
#include "call/flow.h"

#include <sched.h>
#include <string.h>

#include "call/call.h"
#include "paper/paper.h"
#include "sparse/sparse.h"
#include "strict/strict.h"

_Static_assert(VATTN_STRICT_HEADS == VATTN_JUDGE_HEADS, "judge tasks are cut the same way");

#define BITS 24
#define MASK ((UINT64_C(1) << BITS) - 1)

/* --------------------------------------------------------------------------------------------------------- phases */

static int32_t head_of(const struct vattn_call * c, const struct vattn_flow * f) {
    return (int32_t)(f - c->flows);
}

static void enter(struct vattn_flow * f, enum vattn_phase phase, int32_t tasks) {
    f->phase = phase;
    f->n_tasks = tasks;
}

/* After a scan it was for nothing. */
static void enter_dense(struct vattn_call * c, struct vattn_flow * f) {
    if (c->sparse_used && c->sparse != NULL && c->sparse->groups[head_of(c, f)].scanned) {
        vattn_sparse_lost(c, head_of(c, f));
        vattn_sparse_leave_slot(c, head_of(c, f));
    }
    memset(c->dense + head_of(c, f), 1, c->whole ? (size_t)c->plan->opt.n_kv_heads : 1);
    enter(f, VATTN_PHASE_DENSE, c->n_chunks);
}

static bool is_layer(const struct vattn_call * c) {
    return c->sparse_used && c->sparse != NULL && c->plan->opt.scope == VATTN_SCOPE_LAYER;
}

static int32_t judge_blocks(const struct vattn_call * c) {
    return (c->plan->group + VATTN_JUDGE_HEADS - 1) / VATTN_JUDGE_HEADS;
}

static int32_t row_chunks(const struct vattn_call * c) {
    return c->strict != NULL ? c->strict->n_chunks : c->sparse->n_chunks;
}

static bool gave_up(const struct vattn_call * c, int32_t g) {
    return c->strict != NULL ? c->strict->groups[g].state == VATTN_STRICT_EXACT
                             : c->sparse->groups[g].state == VATTN_GROUP_EXACT;
}

static bool is_open(const struct vattn_call * c, int32_t g) {
    return c->strict != NULL ? c->strict->groups[g].state == VATTN_STRICT_OPEN
                             : c->sparse->groups[g].state == VATTN_GROUP_OPEN;
}

/* The phase that sampling comes to next, unless the KV head gave up: then every row. */
static void enter_unless_exact(struct vattn_call * c, struct vattn_flow * f, enum vattn_phase phase, int32_t tasks) {
    if (gave_up(c, head_of(c, f))) {
        enter_dense(c, f);
    } else {
        enter(f, phase, tasks);
    }
}

static void decide(struct vattn_call * c, int32_t g) {
    if (c->strict != NULL) {
        vattn_strict_decide(c, g);
    } else if (!is_layer(c)) {
        vattn_sparse_decide(c, g);
    }
}

/* The next phase of a flow whose tasks are all done.  In scope layer the verdict has been spoken before. */
static void advance(struct vattn_call * c, struct vattn_flow * f) {
    switch (f->phase) {
    case VATTN_PHASE_PREPARE:
        if (c->sparse != NULL && !gave_up(c, head_of(c, f))) {
            c->sparse->groups[head_of(c, f)].scanned = true;
            vattn_sparse_take_slot(c, head_of(c, f));
        }
        enter_unless_exact(c, f, VATTN_PHASE_SCAN, row_chunks(c));
        break;
    case VATTN_PHASE_SCAN:
        enter(f, VATTN_PHASE_DESIGN, 1);
        break;
    case VATTN_PHASE_DESIGN:
        enter_unless_exact(c, f, VATTN_PHASE_GATHER, row_chunks(c));
        break;
    case VATTN_PHASE_GATHER:
        enter(f, VATTN_PHASE_JUDGE, judge_blocks(c));
        break;
    case VATTN_PHASE_JUDGE:
        decide(c, head_of(c, f));
        enter_unless_exact(c, f, is_open(c, head_of(c, f)) ? VATTN_PHASE_DESIGN : VATTN_PHASE_FINISH, 1);
        break;
    case VATTN_PHASE_PAPER:
    case VATTN_PHASE_DENSE:
        enter(f, VATTN_PHASE_FINISH, c->whole ? c->plan->opt.n_kv_heads : 1);
        break;
    case VATTN_PHASE_FINISH:
        if (c->sparse_used && c->sparse != NULL) {
            vattn_sparse_leave_slot(c, head_of(c, f));
        }
        enter(f, VATTN_PHASE_END, 0);
        break;
    case VATTN_PHASE_BEGIN:
    case VATTN_PHASE_END:
        enter(f, VATTN_PHASE_END, 0);
        break;
    }
}

static void judge(struct vattn_call * c, int32_t g, int32_t block) {
    int32_t first = block * VATTN_JUDGE_HEADS, left = c->plan->group - first;
    (c->strict != NULL ? vattn_strict_judge : vattn_sparse_judge)(c, g, first,
                                                                  left < VATTN_JUDGE_HEADS ? left : VATTN_JUDGE_HEADS);
}

static void run(struct vattn_call * c, const struct vattn_flow * f, int32_t task) {
    int32_t g = head_of(c, f);
    bool strict = c->strict != NULL;
    switch (f->phase) {
    case VATTN_PHASE_PREPARE:
        (strict ? vattn_strict_prepare : vattn_sparse_prepare)(c, g);
        break;
    case VATTN_PHASE_SCAN:
        (strict ? vattn_strict_scan : vattn_sparse_scan)(c, g, task);
        break;
    case VATTN_PHASE_DESIGN:
        (strict ? vattn_strict_design : vattn_sparse_design)(c, g);
        break;
    case VATTN_PHASE_GATHER:
        (strict ? vattn_strict_gather : vattn_sparse_gather)(c, g, task);
        break;
    case VATTN_PHASE_JUDGE:
        judge(c, g, task);
        break;
    case VATTN_PHASE_PAPER:
        vattn_paper_group(c, g);
        break;
    case VATTN_PHASE_DENSE:
        vattn_call_dense(c, g, c->whole ? c->plan->opt.n_kv_heads : 1, task);
        break;
    case VATTN_PHASE_FINISH:
        vattn_call_finish(c, g + task);
        break;
    case VATTN_PHASE_BEGIN:
    case VATTN_PHASE_END:
        break;
    }
}

/* ---------------------------------------------------------------------------------------------------------- start */

/* Sparse pays only with an index and enough keys; else the same call is exact.  Strict needs an index made for it. */
static bool is_sparse(const struct vattn_call * c) {
    bool serves = c->sparse != NULL || (c->strict != NULL && c->in.index != NULL && c->in.index->reach != NULL);
    return serves && vattn_index_calibrated(c->in.index) &&
           c->in.kv->n_keys <= c->in.index->capacity && c->n_visible >= c->plan->opt.min_keys;
}

/* Let threads that run freely have the tasks of the phase. */
static void publish(struct vattn_flow * f) {
    uint64_t phases = (atomic_load_explicit(&f->ticket, memory_order_relaxed) >> (2 * BITS)) + 1;
    atomic_store_explicit(&f->left, f->n_tasks, memory_order_relaxed);
    atomic_store_explicit(&f->ticket, phases << (2 * BITS) | (uint64_t)f->n_tasks << BITS, memory_order_release);
}

/* KV heads that pause are exact from the start; true if all do. */
static bool all_pause(struct vattn_call * c) {
    int32_t n = 0;
    if (c->strict != NULL) {
        return false;
    }
    const bool layer_pauses = vattn_sparse_layer_pauses(c);
    for (int32_t g = 0; g < c->plan->opt.n_kv_heads; g++) {
        bool pauses = layer_pauses || vattn_sparse_pauses(c, g);
        c->sparse->groups[g].state = pauses ? VATTN_GROUP_EXACT : VATTN_GROUP_OPEN;
        n += pauses;
    }
    return n == c->plan->opt.n_kv_heads;
}

static void start_flow(struct vattn_call * c, struct vattn_flow * f) {
    f->parked = false;
    atomic_init(&f->ticket, 0);
    if (c->whole || (c->sparse_used && gave_up(c, head_of(c, f)))) {
        enter_dense(c, f);
    } else {
        enter(f, c->sparse_used ? VATTN_PHASE_PREPARE : VATTN_PHASE_PAPER, 1);
    }
    publish(f);
}

void vattn_flow_start(struct vattn_call * c) {
    int32_t kv_heads = c->plan->opt.n_kv_heads, awaited = 0;
    memset(c->cert, 0, (size_t)c->plan->opt.n_heads * sizeof *c->cert);
    memset(c->dense, 0, (size_t)kv_heads);
    c->sparse_used = c->n_visible > 0 && is_sparse(c);
    if (c->sparse_used) {
        (c->strict != NULL ? vattn_strict_begin : vattn_sparse_begin)(c);
        c->sparse_used = !all_pause(c);
    }
    c->whole = c->n_visible > 0 && c->paper == NULL && !c->sparse_used;
    c->n_flows = c->n_visible == 0 ? 0 : c->whole ? 1 : kv_heads;
    if (c->n_visible == 0) {
        vattn_call_finish_empty(c);
    }
    for (int32_t i = 0; i < c->n_flows; i++) {
        start_flow(c, &c->flows[i]);
        awaited += c->flows[i].phase == VATTN_PHASE_PREPARE;
    }
    atomic_init(&c->n_running, c->n_flows);
    atomic_init(&c->n_awaited, awaited);
    atomic_init(&c->n_workers, 0);
}

/* ------------------------------------------------------------------------------------------------------- lock step */

/* Numbers the tasks of all flows.  The phase of the call is that of the flow that has come least far, so that it is JUDGE
 * when the flows that are still sampled are. */
static int32_t number_tasks(struct vattn_call * c) {
    int32_t n = 0;
    c->phase = VATTN_PHASE_END;
    for (int32_t i = 0; i < c->n_flows; i++) {
        struct vattn_flow * f = &c->flows[i];
        f->first = n;
        n += f->n_tasks;
        c->phase = f->phase < c->phase ? f->phase : c->phase;
    }
    return n;
}

int32_t vattn_call_next(struct vattn_call * c) {
    if (c->phase != VATTN_PHASE_BEGIN) {
        if (is_layer(c) && c->phase == VATTN_PHASE_JUDGE) { /* open flows are in step with one another */
            vattn_sparse_decide_layer(c);
        }
        for (int32_t i = 0; i < c->n_flows; i++) {
            advance(c, &c->flows[i]);
        }
    }
    return number_tasks(c);
}

void vattn_call_task(struct vattn_call * c, int32_t task) {
    for (int32_t i = 0; i < c->n_flows; i++) {
        const struct vattn_flow * f = &c->flows[i];
        if (task >= f->first && task < f->first + f->n_tasks) {
            run(c, f, task - f->first);
            return;
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- freely */

/* A task of the flow's phase that nobody has, or -1. */
static int32_t claim(struct vattn_flow * f) {
    uint64_t t = atomic_load_explicit(&f->ticket, memory_order_acquire);
    do {
        if ((t & MASK) >= (t >> BITS & MASK)) {
            return -1;
        }
    } while (!atomic_compare_exchange_weak_explicit(&f->ticket, &t, t + 1, memory_order_acquire, memory_order_acquire));
    return (int32_t)(t & MASK);
}

int32_t vattn_flow_upcoming(const struct vattn_flow * f, int32_t task) {
    const int32_t first_free = (int32_t)(atomic_load_explicit(&f->ticket, memory_order_relaxed) & MASK);
    return first_free > task ? first_free : task + 1; /* in lock step nobody counts the tickets */
}

/* Scope layer: the last flow to come to the verdict speaks it for all that wait for it. */
static void arrive(struct vattn_call * c) {
    if (atomic_fetch_sub_explicit(&c->n_awaited, 1, memory_order_acq_rel) > 1) {
        return;
    }
    int32_t open = 0;
    vattn_sparse_decide_layer(c);
    for (int32_t i = 0; i < c->n_flows; i++) {
        open += c->flows[i].parked && c->sparse->groups[i].state == VATTN_GROUP_OPEN;
    }
    atomic_store_explicit(&c->n_awaited, open, memory_order_relaxed);
    for (int32_t i = 0; i < c->n_flows; i++) {
        if (c->flows[i].parked) {
            c->flows[i].parked = false;
            advance(c, &c->flows[i]);
            publish(&c->flows[i]);
        }
    }
}

/* All tasks of the phase are done.  Phases of one task go on in the same thread. */
static void proceed(struct vattn_call * c, struct vattn_flow * f) {
    for (;;) {
        if (is_layer(c) && f->phase == VATTN_PHASE_JUDGE) {
            f->parked = true;
            arrive(c);
            return;
        }
        bool sampled = f->phase == VATTN_PHASE_PREPARE || f->phase == VATTN_PHASE_DESIGN;
        advance(c, f);
        if (is_layer(c) && sampled && f->phase == VATTN_PHASE_DENSE) { /* takes no part in the verdict any more */
            arrive(c);
        }
        if (f->n_tasks != 1) {
            break;
        }
        run(c, f, 0);
    }
    if (f->n_tasks > 0) {
        publish(f);
    } else {
        atomic_fetch_sub_explicit(&c->n_running, 1, memory_order_acq_rel);
    }
}

/* A task of flow i or of the next one that has any; *i becomes the flow it was found in. */
static bool work_once(struct vattn_call * c, int32_t * i) {
    for (int32_t k = 0; k < c->n_flows; k++) {
        int32_t at = (*i + k) % c->n_flows, task = claim(&c->flows[at]);
        if (task < 0) {
            continue;
        }
        struct vattn_flow * f = &c->flows[at];
        *i = at;
        run(c, f, task);
        if (atomic_fetch_sub_explicit(&f->left, 1, memory_order_acq_rel) == 1) {
            proceed(c, f);
        }
        return true;
    }
    return false;
}

static void rest(int32_t turns) {
    enum { PATIENCE = 256 }; /* after so many turns the processor may be needed by somebody else */
    if (turns % PATIENCE == 0) {
        (void)sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void vattn_call_work(struct vattn_call * c) {
    int32_t at =
        atomic_fetch_add_explicit(&c->n_workers, 1, memory_order_relaxed); /* threads start at different flows */
    for (int32_t turns = 0; atomic_load_explicit(&c->n_running, memory_order_acquire) > 0;) {
        if (work_once(c, &at)) {
            turns = 0;
        } else {
            rest(++turns);
        }
    }
}
