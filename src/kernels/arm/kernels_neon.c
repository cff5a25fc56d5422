/* SPDX-License-Identifier: MIT */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

/* Two tables that differ in name and scan, so that tests see both. */
#define NEON_TABLE(table_name, table_scan)                                                                             \
    {                                                                                                                  \
        .name = (table_name), .score = VATTN_BY_TYPE(score, neon), .accumulate = VATTN_BY_TYPE(accumulate, neon),      \
        .distance = VATTN_BY_TYPE(distance, neon), .offset = VATTN_BY_TYPE(offset, neon), .max = vattn_max_neon,       \
        .exp2_sum = vattn_exp2_sum_neon, .design = vattn_design_neon, .scan = (table_scan),                            \
        .select = vattn_select_neon, .thin = vattn_thin_neon,                                                          \
    }

const struct vattn_kernels vattn_kernels_neon = NEON_TABLE("neon", vattn_scan_neon);
const struct vattn_kernels vattn_kernels_neon_dotprod = NEON_TABLE("neon-dotprod", vattn_scan_neon_dotprod);

#else
typedef int vattn_empty_translation_unit;
#endif
