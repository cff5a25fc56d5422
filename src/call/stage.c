/* SPDX-License-Identifier: MIT */
#include "call/call.h"

#include <vattn_experimental.h>

enum vattn_stage vattn_call_stage(const struct vattn_call * call) {
    switch (call->phase) {
    case VATTN_PHASE_PREPARE:
    case VATTN_PHASE_SCAN:
        return VATTN_STAGE_SCAN;
    case VATTN_PHASE_DESIGN:
        return VATTN_STAGE_DESIGN;
    case VATTN_PHASE_GATHER:
    case VATTN_PHASE_DENSE:
        return VATTN_STAGE_GATHER;
    case VATTN_PHASE_JUDGE:
    case VATTN_PHASE_PAPER:
        return VATTN_STAGE_ESTIMATE;
    case VATTN_PHASE_FINISH:
        return VATTN_STAGE_MERGE;
    case VATTN_PHASE_BEGIN:
    case VATTN_PHASE_END:
        break;
    }
    return VATTN_STAGE_NONE;
}
