/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <string.h>

#include "base/cpu_features.h"
#include "vattn.h"

static const struct {
    const char * name;
    uint32_t bit;
} tiers[] = {{"avx512", VATTN_TIER_AVX512}, {"avx2", VATTN_TIER_AVX2}, {"neon", VATTN_TIER_NEON}};

/* Without AVX2 there is no AVX-512 tier either, as on any machine. */
const struct vattn_kernels * vattn_kernels_pick(uint32_t disabled_tiers) {
#if defined(__x86_64__)
    const struct vattn_cpu_features cpu = vattn_cpu_features_detect();
    if (cpu.avx2 && !(disabled_tiers & VATTN_TIER_AVX2)) {
        if (cpu.avx512 && cpu.avx512_worthwhile && !(disabled_tiers & VATTN_TIER_AVX512)) {
            return &vattn_kernels_avx512;
        }
        return &vattn_kernels_avx2;
    }
#endif
    (void)disabled_tiers;
    return &vattn_kernels_generic;
}

bool vattn_tiers_parse(const char * list, uint32_t * mask) {
    uint32_t bits = 0;
    if (list == NULL || mask == NULL) {
        return false;
    }
    for (const char * word = list; *list != '\0'; word = list) {
        const size_t length = strcspn(word, ",");
        uint32_t bit = 0;
        for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++) {
            if (strlen(tiers[i].name) == length && memcmp(tiers[i].name, word, length) == 0) {
                bit = tiers[i].bit;
            }
        }
        if (bit == 0) {
            return false;
        }
        bits |= bit;
        list = word + length;
        if (*list == ',' && *++list == '\0') { /* a list does not end in a comma */
            return false;
        }
    }
    *mask = bits;
    return true;
}
