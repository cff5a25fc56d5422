/* SPDX-License-Identifier: MIT
 *
 * The NEON tier: AArch64, little-endian.  Everything but the SDOT of one scan is in the base instruction set (Advanced
 * SIMD with conversions from f16) and needs no attribute.
 *
 * Thirty-two registers of four floats hold what AVX2 has in sixteen of eight, so "a vector" of eight floats is a pair of
 * registers, the tiles are those of AVX2, and sums run over eight lanes as everywhere.
 */
#ifndef VATTN_KERNELS_ARM_H
#define VATTN_KERNELS_ARM_H

#include "kernels/tier.h"

/* Compilers spell it differently, and gcc's assembler wants the whole of Armv8.2 with it. */
#if defined(__ARM_FEATURE_DOTPROD)
#define VATTN_DOTPROD
#elif defined(__clang__)
#define VATTN_DOTPROD __attribute__((target("dotprod")))
#else
#define VATTN_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

VATTN_DECLARE_TIER(neon);

/* As vattn_scan_neon, on processors with SDOT. */
void vattn_scan_neon_dotprod(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                             const struct vattn_query_code * query, int32_t n_heads, float * out, ptrdiff_t ld);

#endif
