/* SPDX-License-Identifier: MIT */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

/* Two tables that differ in name and scan, so that tests see both. */
#define NEON_TABLE(table_name, table_scan)                                                                             \
    {                                                                                                                  \
        .name = (table_name), .score_f16 = vattn_score_f16_neon, .score_f32 = vattn_score_f32_neon,                    \
        .accumulate_f16 = vattn_accumulate_f16_neon, .accumulate_f32 = vattn_accumulate_f32_neon,                      \
        .deviation_f16 = vattn_deviation_f16_neon, .deviation_f32 = vattn_deviation_f32_neon,                          \
        .offset_f16 = vattn_offset_f16_neon, .offset_f32 = vattn_offset_f32_neon, .max = vattn_max_neon,               \
        .exp2_sum = vattn_exp2_sum_neon, .design = vattn_design_neon, .scan = (table_scan),                            \
        .select = vattn_select_neon, .thin = vattn_thin_neon,                                                          \
    }

const struct vattn_kernels vattn_kernels_neon = NEON_TABLE("neon", vattn_scan_neon);
const struct vattn_kernels vattn_kernels_neon_dotprod = NEON_TABLE("neon-dotprod", vattn_scan_neon_dotprod);

#else
typedef int vattn_empty_translation_unit;
#endif
