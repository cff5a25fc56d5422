/* SPDX-License-Identifier: MIT */

#include "kernels/x86/x86.h"

#if defined(__x86_64__)

const struct vattn_kernels vattn_kernels_avx512 = {
    .name = "avx512",
    .score_f16 = vattn_score_f16_avx512,
    .score_f32 = vattn_score_f32_avx512,
    .accumulate_f16 = vattn_accumulate_f16_avx512,
    .accumulate_f32 = vattn_accumulate_f32_avx512,
    .deviation_f16 = vattn_deviation_f16_avx512,
    .deviation_f32 = vattn_deviation_f32_avx512,
    .offset_f16 = vattn_offset_f16_avx512,
    .offset_f32 = vattn_offset_f32_avx512,
    .max = vattn_max_avx512,
    .exp2_sum = vattn_exp2_sum_avx512,
    .design = vattn_design_avx512,
    .scan = vattn_scan_avx512,
    .select = vattn_select_avx512,
    .thin = vattn_thin_avx512,
};

#else
typedef int vattn_empty_translation_unit;
#endif
