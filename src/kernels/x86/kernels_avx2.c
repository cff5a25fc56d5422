/* SPDX-License-Identifier: MIT */

#include "kernels/x86/x86.h"

#if defined(__x86_64__)

const struct vattn_kernels vattn_kernels_avx2 = {
    .name = "avx2",
    .score = VATTN_BY_TYPE(score, avx2),
    .accumulate = VATTN_BY_TYPE(accumulate, avx2),
    .distance = VATTN_BY_TYPE(distance, avx2),
    .offset = VATTN_BY_TYPE(offset, avx2),
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
