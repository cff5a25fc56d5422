/* SPDX-License-Identifier: MIT
 * Drive a call of the library with a team of threads, and see what it spends its time on. */
#ifndef VATTN_TOOLS_TEAM_H
#define VATTN_TOOLS_TEAM_H

#include <vattn_experimental.h>

/* Seconds per stage, added up over calls. */
struct stage_clock {
    double seconds[VATTN_STAGE_COUNT];
};

/* clock may be NULL.  *call (may be NULL, too) is the finished call, in `work`; it keeps its claims. */
enum vattn_status team_attend(const struct vattn_plan * plan, const struct vattn_input * input, void * work,
                              size_t work_bytes, int threads, struct stage_clock * clock,
                              struct vattn_call ** call);

#endif
