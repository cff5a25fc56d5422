/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"

const struct vattn_kernels vattn_kernels_generic = {
    .name = "generic",
    .score_f16 = vattn_score_f16_generic,
    .score_f32 = vattn_score_f32_generic,
    .accumulate_f16 = vattn_accumulate_f16_generic,
    .accumulate_f32 = vattn_accumulate_f32_generic,
    .deviation_f16 = vattn_deviation_f16_generic,
    .deviation_f32 = vattn_deviation_f32_generic,
    .offset_f16 = vattn_offset_f16_generic,
    .offset_f32 = vattn_offset_f32_generic,
    .max = vattn_max_generic,
    .exp2_sum = vattn_exp2_sum_generic,
    .design = vattn_design_generic,
    .scan = vattn_scan_generic,
    .select = vattn_select_generic,
    .thin = vattn_thin_generic,
};
