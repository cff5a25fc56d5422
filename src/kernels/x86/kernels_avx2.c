/* SPDX-License-Identifier: MIT */

#include "kernels/x86/x86.h"

#if defined(__x86_64__)

/* Two tables that differ in name and scan, so that tests see both. */
#define AVX2_TABLE(table_name, table_scan)                                                                             \
    {                                                                                                                  \
        .name = (table_name), .score = VATTN_BY_TYPE(score, avx2), .accumulate = VATTN_BY_TYPE(accumulate, avx2),      \
        .distance = VATTN_BY_TYPE(distance, avx2), .offset = VATTN_BY_TYPE(offset, avx2), .max = vattn_max_avx2,       \
        .exp2_sum = vattn_exp2_sum_avx2, .design = vattn_design_avx2, .scan = (table_scan),                            \
        .select = vattn_select_avx2, .thin = vattn_thin_avx2,                                                          \
    }

const struct vattn_kernels vattn_kernels_avx2 = AVX2_TABLE("avx2", vattn_scan_avx2);
#if defined(VATTN_HAVE_AVXVNNI)
const struct vattn_kernels vattn_kernels_avx2_vnni = AVX2_TABLE("avx2-vnni", vattn_scan_avxvnni);
#endif

#else
typedef int vattn_empty_translation_unit;
#endif
