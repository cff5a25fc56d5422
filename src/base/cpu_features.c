/* SPDX-License-Identifier: MIT */
#include "base/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

#define BIT(n) (UINT32_C(1) << (n))

/* XCR0 by hand: the intrinsic needs -mxsave. */
static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool all(uint32_t reg, uint32_t bits) {
    return (reg & bits) == bits;
}

struct vattn_cpu_features vattn_cpu_features_detect(void) {
    struct vattn_cpu_features features = {0};
    uint32_t eax, ebx, ecx, edx;

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) {
        return features;
    }
    const uint32_t family = (eax >> 8) & 15;
    const uint32_t model = ((eax >> 4) & 15) | ((eax >> 12) & 0xf0);
    const bool fma_f16c_avx = all(ecx, BIT(12) | BIT(29) | BIT(28));
    if (!fma_f16c_avx || !all(ecx, BIT(27))) { /* bit 27: OSXSAVE */
        return features;
    }
    const uint64_t xcr0 = read_xcr0();
    if ((xcr0 & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) { /* xmm, ymm */
        return features;
    }
    features.avx2 = all(ebx, BIT(3) | BIT(5) | BIT(8));                  /* BMI1, AVX2, BMI2 */
    features.avx512 = features.avx2 && (xcr0 & 0xe6) == 0xe6             /* k, zmm low, zmm high */
                      && all(ebx, BIT(16) | BIT(17) | BIT(30) | BIT(31)) /* F, DQ, BW, VL */
                      && all(ecx, BIT(11));                              /* VNNI */
    /* Cascade Lake is the only VNNI machine that drops its clock far for 512-bit multiplies.  The kernels are bound by
     * loads and multiplies, so even there the wider registers are not worse; it is excluded because nobody has measured
     * it here (libdeflate draws the same line). */
    features.avx512_worthwhile = features.avx512 && !(family == 6 && model == 0x55);
    features.avxvnni = features.avx2 && eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && all(eax, BIT(4));
    return features;
}

#elif defined(__AARCH64EL__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif

struct vattn_cpu_features vattn_cpu_features_detect(void) {
    struct vattn_cpu_features features = {.neon = true};
#if defined(__ARM_FEATURE_DOTPROD) /* the compiler was told so */
    features.dotprod = true;
#elif defined(__linux__)
    features.dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
    return features;
}

#else

struct vattn_cpu_features vattn_cpu_features_detect(void) {
    return (struct vattn_cpu_features){0};
}

#endif
