/* SPDX-License-Identifier: MIT
 *
 * The x86 tiers.  Functions name their instruction sets in an attribute, so that no file needs flags of its own and no
 * AVX copy of a helper can leak into portable code.
 */
#ifndef VATTN_KERNELS_X86_H
#define VATTN_KERNELS_X86_H

#include "kernels/tier.h"

#if defined(VATTN_SCALAR_INTRINSICS) /* tests/emulated: intrinsics spelled out in C */
#define VATTN_TARGET(isa)
#define VATTN_IN_ORDER(x) ((void)0)
#else
#define VATTN_TARGET(isa) __attribute__((target(isa)))
/* For a sum that has just grown.  Left alone, gcc adds products to each other before it adds them to the sum, and has no registers left
 * for that, or moves the sum to another register at every turn of a loop. */
#define VATTN_IN_ORDER(x) __asm__("" : "+v"(x))
#endif
#define VATTN_AVX2    VATTN_TARGET("avx2,fma,f16c,bmi,bmi2")
#define VATTN_AVXVNNI VATTN_TARGET("avxvnni,avx2,fma,f16c,bmi,bmi2")
#define VATTN_AVX512  VATTN_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,bmi,bmi2")

VATTN_DECLARE_TIER(avx2);
VATTN_DECLARE_TIER(avx512);
void vattn_scan_avxvnni(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                        const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld);

#endif
