/* SPDX-License-Identifier: MIT
 *
 * libvattn, what may still change: not covered by the promise that vattn.h stays compatible.
 */
#ifndef VATTN_EXPERIMENTAL_H
#define VATTN_EXPERIMENTAL_H

#include "vattn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the tasks handed out by the last vattn_call_next() do; for clocks and logs.
 *   scan      proxies from the codes, keys of the escape list
 *   design    thresholds and probabilities
 *   gather    reading rows, sampled or all
 *   estimate  variance, bound, verdict
 *   merge     partial results into outputs */
enum vattn_stage {
    VATTN_STAGE_NONE = 0,
    VATTN_STAGE_SCAN,
    VATTN_STAGE_DESIGN,
    VATTN_STAGE_GATHER,
    VATTN_STAGE_ESTIMATE,
    VATTN_STAGE_MERGE,
    VATTN_STAGE_COUNT
};

VATTN_API enum vattn_stage vattn_call_stage(const struct vattn_call * call);

#ifdef __cplusplus
}
#endif
#endif
