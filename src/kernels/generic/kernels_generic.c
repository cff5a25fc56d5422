/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"

const struct vattn_kernels vattn_kernels_generic = {
    .name = "generic",
    .score = VATTN_BY_TYPE(score, generic),
    .accumulate = VATTN_BY_TYPE(accumulate, generic),
    .distance = VATTN_BY_TYPE(distance, generic),
    .offset = VATTN_BY_TYPE(offset, generic),
    .max = vattn_max_generic,
    .exp2_sum = vattn_exp2_sum_generic,
    .design = vattn_design_generic,
    .scan = vattn_scan_generic,
    .select = vattn_select_generic,
    .thin = vattn_thin_generic,
};
