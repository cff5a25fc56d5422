/* SPDX-License-Identifier: MIT */

#include "kernels/x86/x86.h"

#if defined(__x86_64__)

const struct vattn_kernels vattn_kernels_avx512 = VATTN_TABLE("avx512", avx512, vattn_scan_avx512);

#else
typedef int vattn_empty_translation_unit;
#endif
