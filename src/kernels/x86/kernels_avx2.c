/* SPDX-License-Identifier: MIT */

#include "kernels/x86/x86.h"

#if defined(__x86_64__)

/* Two tables that differ in name and scan, so that tests see both. */
const struct vattn_kernels vattn_kernels_avx2 = VATTN_TABLE("avx2", avx2, vattn_scan_avx2);
#if defined(VATTN_HAVE_AVXVNNI)
const struct vattn_kernels vattn_kernels_avx2_vnni = VATTN_TABLE("avx2-vnni", avx2, vattn_scan_avxvnni);
#endif

#else
typedef int vattn_empty_translation_unit;
#endif
