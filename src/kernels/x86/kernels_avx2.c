/* SPDX-License-Identifier: MIT */

#include "kernels/x86/x86.h"

#if defined(__x86_64__)

const struct vattn_kernels vattn_kernels_avx2 = {
    .name = "avx2",
    .score_f16 = vattn_score_f16_avx2,
    .score_f32 = vattn_score_f32_avx2,
    .accumulate_f16 = vattn_accumulate_f16_avx2,
    .accumulate_f32 = vattn_accumulate_f32_avx2,
    .deviation_f16 = vattn_deviation_f16_avx2,
    .deviation_f32 = vattn_deviation_f32_avx2,
    .offset_f16 = vattn_offset_f16_avx2,
    .offset_f32 = vattn_offset_f32_avx2,
    .max = vattn_max_avx2,
    .exp2_sum = vattn_exp2_sum_avx2,
    .design = vattn_design_avx2,
    .scan = vattn_scan_avx2,
    .select = vattn_select_avx2,
    .thin = vattn_thin_avx2,
};

#else
typedef int vattn_empty_translation_unit;
#endif
