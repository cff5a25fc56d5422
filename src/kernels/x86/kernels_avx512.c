/* SPDX-License-Identifier: MIT */

#include "kernels/x86/x86.h"

#if defined(__x86_64__)

const struct vattn_kernels vattn_kernels_avx512 = {
    .name = "avx512",
    .score = VATTN_BY_TYPE(score, avx512),
    .accumulate = VATTN_BY_TYPE(accumulate, avx512),
    .distance = VATTN_BY_TYPE(distance, avx512),
    .offset = VATTN_BY_TYPE(offset, avx512),
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
