/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <string.h>

#include "base/cpu_features.h"
#include "vattn.h"

static const struct {
    const char * name;
    uint32_t bit;
} tiers[] = {{"avx512", VATTN_TIER_AVX512}, {"avx2", VATTN_TIER_AVX2}, {"neon", VATTN_TIER_NEON}};

struct candidate {
    const struct vattn_kernels * kernels;
    bool supported, worthwhile;
    uint32_t tiers; /* none of these may be disabled */
};

enum { MAX_CANDIDATES = 4 };

/* Best first; their number.  Without AVX2 there is no AVX-512 tier either, as on any machine. */
static int32_t find_candidates(struct vattn_cpu_features cpu, struct candidate candidate[MAX_CANDIDATES]) {
    int32_t n = 0;
#if defined(__x86_64__)
    candidate[n++] = (struct candidate){&vattn_kernels_avx512, cpu.avx512, cpu.avx512_worthwhile,
                                        VATTN_TIER_AVX512 | VATTN_TIER_AVX2};
#if defined(VATTN_HAVE_AVXVNNI)
    candidate[n++] = (struct candidate){&vattn_kernels_avx2_vnni, cpu.avxvnni, true, VATTN_TIER_AVX2};
#endif
    candidate[n++] = (struct candidate){&vattn_kernels_avx2, cpu.avx2, true, VATTN_TIER_AVX2};
#elif defined(__AARCH64EL__)
    candidate[n++] = (struct candidate){&vattn_kernels_neon_dotprod, cpu.dotprod, true, VATTN_TIER_NEON};
    candidate[n++] = (struct candidate){&vattn_kernels_neon, cpu.neon, true, VATTN_TIER_NEON};
#endif
    (void)cpu;
    candidate[n++] = (struct candidate){&vattn_kernels_generic, true, true, 0};
    return n;
}

const struct vattn_kernels * vattn_kernels_pick_for(struct vattn_cpu_features cpu, uint32_t disabled_tiers) {
    struct candidate candidate[MAX_CANDIDATES];
    const int32_t n = find_candidates(cpu, candidate);
    int32_t i = 0;
    while (i + 1 < n &&
           !(candidate[i].supported && candidate[i].worthwhile && (candidate[i].tiers & disabled_tiers) == 0)) {
        i++;
    }
    return candidate[i].kernels;
}

const struct vattn_kernels * vattn_kernels_pick(uint32_t disabled_tiers) {
    return vattn_kernels_pick_for(vattn_cpu_features_detect(), disabled_tiers);
}

const struct vattn_kernels * vattn_kernels_supported(int32_t i) {
    struct candidate candidate[MAX_CANDIDATES];
    const int32_t n = find_candidates(vattn_cpu_features_detect(), candidate);
    for (int32_t c = 0; c < n; c++) {
        if (candidate[c].supported && i-- == 0) {
            return candidate[c].kernels;
        }
    }
    return NULL;
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
