/* SPDX-License-Identifier: MIT */
#include "kernels/arm/arm.h"

#if defined(__AARCH64EL__)

/* Two tables that differ in name and scan, so that tests see both. */
const struct vattn_kernels vattn_kernels_neon = VATTN_TABLE("neon", neon, vattn_scan_neon);
const struct vattn_kernels vattn_kernels_neon_dotprod = VATTN_TABLE("neon-dotprod", neon, vattn_scan_neon_dotprod);

#else
typedef int vattn_empty_translation_unit;
#endif
