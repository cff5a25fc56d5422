/* SPDX-License-Identifier: MIT
 *
 * A flow: one KV head on its way through the phases of a call (in an exact call: all of them together).
 *
 *     exact:   DENSE (row chunks) -> FINISH (KV heads)
 *     sparse:  PREPARE -> SCAN (row chunks) -> DESIGN -> GATHER (row chunks) -> JUDGE (head blocks)
 *              -> DESIGN again, or DENSE (row chunks) -> FINISH, or FINISH
 *     strict:  as sparse; DESIGN may give up, too
 *     the methods of comparison: PAPER -> FINISH
 *
 * Flows do not wait for one another, except in scope layer, where all heads are judged together.  They are driven in one
 * of two ways that run the same tasks: in lock step (vattn_call_next and _task, the caller has the barriers), or freely
 * (vattn_call_work: whoever finishes the last task of a phase opens the next phase of that flow).
 */
#ifndef VATTN_FLOW_H
#define VATTN_FLOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum vattn_phase {
    VATTN_PHASE_BEGIN,
    VATTN_PHASE_PREPARE,
    VATTN_PHASE_SCAN,
    VATTN_PHASE_DESIGN,
    VATTN_PHASE_GATHER,
    VATTN_PHASE_JUDGE,
    VATTN_PHASE_PAPER,
    VATTN_PHASE_DENSE,
    VATTN_PHASE_FINISH,
    VATTN_PHASE_END
};

struct vattn_flow {
    enum vattn_phase phase;
    int32_t n_tasks;          /* of the phase */
    int32_t first;            /* in lock step: number of its first task */
    bool parked;              /* freely, in scope layer: waits for the verdict on all flows */
    _Atomic(uint64_t) ticket; /* phases so far, tasks of this one, tasks handed out: 16, 24 and 24 bits */
    _Atomic(int32_t) left;    /* tasks that are not finished */
};

struct vattn_call;

/* All flows into their first phase. */
void vattn_flow_start(struct vattn_call * c);

/* The task of the phase that a thread will probably be given after this one; past the last one there is none. */
int32_t vattn_flow_upcoming(const struct vattn_flow * f, int32_t task);

/* Tasks of the phases, called by flows.  call.c: */
void vattn_call_dense(struct vattn_call * c, int32_t first_head, int32_t n_heads, int32_t chunk);
void vattn_call_finish(struct vattn_call * c, int32_t g);
void vattn_call_finish_empty(struct vattn_call * c);

#endif
