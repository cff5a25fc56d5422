/* SPDX-License-Identifier: MIT */
#include "team.h"

#include "progress.h"

#include <omp.h>

/* What the team shares while it works on one call. */
struct shift {
    struct vattn_call * call;
    struct stage_clock * clock;
    enum vattn_stage stage;
    double since;
    int32_t n_tasks;
};

/* One thread: close the clock of the phase that ended, ask for the next one. */
static void next_phase(struct shift * shift) {
    if (shift->clock != NULL) {
        const double now = seconds_now();
        shift->clock->seconds[shift->stage] += now - shift->since;
        shift->since = now;
    }
    shift->n_tasks = vattn_call_next(shift->call);
    shift->stage = vattn_call_stage(shift->call);
}

enum vattn_status team_attend(const struct vattn_plan * plan, const struct vattn_input * input, void * work,
                              size_t work_bytes, int threads, struct stage_clock * clock,
                              struct vattn_call ** call) {
    struct shift shift = {.clock = clock, .since = clock ? seconds_now() : 0};
    enum vattn_status status;
    status = vattn_call_begin(plan, input, work, work_bytes, &shift.call);
    if (status < 0)
        return status;
    if (call != NULL) {
        *call = shift.call;
        vattn_call_keep_claims(shift.call);
    }
    if (clock == NULL) {
        if (threads <= 1) /* a team of one would cost more than small calls */
            vattn_call_work(shift.call);
        else
#pragma omp parallel num_threads(threads)
            vattn_call_work(shift.call);
        return vattn_call_end(shift.call);
    }
#pragma omp parallel num_threads(threads)
    for (;;) {
#pragma omp single
        next_phase(&shift); /* the barriers of `single` and `for` keep the phases apart */
        const int32_t n_tasks = shift.n_tasks;
        if (n_tasks <= 0)
            break;
#pragma omp for schedule(dynamic, 1)
        for (int32_t task = 0; task < n_tasks; task++)
            vattn_call_task(shift.call, task);
    }
    return vattn_call_end(shift.call);
}
