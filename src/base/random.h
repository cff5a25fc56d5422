/* SPDX-License-Identifier: MIT
 *
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011).  A draw is a pure function of (key, counter); nothing is stored.  Tested against Random123.
 *
 * Our key and counter: key = seed, counter = (token / 4, nonce lo, nonce hi, stream); token t takes word t & 3.
 */
#ifndef VATTN_RANDOM_H
#define VATTN_RANDOM_H

#include <stdint.h>

/* What a draw is for; different domains never share a counter. */
enum vattn_random_domain {
    VATTN_RANDOM_SAMPLE = 0,  /* inclusion of a token in the Poisson sample */
    VATTN_RANDOM_UNIFORM = 2, /* the uniform sample of the paper's method */
    VATTN_RANDOM_CALIBRATE = 3,
    VATTN_RANDOM_STRICT = 4,  /* 4..11: the sample of look 0..7 of strict mode, each one of its own */
    VATTN_RANDOM_TEST = 15
};

#define VATTN_PHILOX_M0 0xD2511F53u
#define VATTN_PHILOX_M1 0xCD9E8D57u
#define VATTN_PHILOX_W0 0x9E3779B9u
#define VATTN_PHILOX_W1 0xBB67AE85u

/* domain: 4 bits, layer: 14 bits, kv_head: 14 bits */
static inline uint32_t vattn_random_stream(enum vattn_random_domain domain, int32_t layer, int32_t kv_head) {
    return ((uint32_t)domain & 0xfu) << 28 | ((uint32_t)layer & 0x3fffu) << 14 | ((uint32_t)kv_head & 0x3fffu);
}

static inline void vattn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t word[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int32_t round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)VATTN_PHILOX_M0 * c0;
        const uint64_t p1 = (uint64_t)VATTN_PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += VATTN_PHILOX_W0;
        k1 += VATTN_PHILOX_W1;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

enum { VATTN_PHILOX_ROUNDS = 10 };

/*
 * What counters share that differ in their first word alone, in 64 bits each, as vectors want it.  Round 0 gives all of them the same
 * words 0 and 1, and round 1 the same word 3 and the same part of word 2, so that a counter c needs of these rounds
 *
 *     x = high(c M0) ^ first     c0 = high(x M1) ^ c0_same     c1 = low(x M1)     c2 = low(c M0) ^ c2_same     c3 = c3_same
 */
struct vattn_philox {
    uint64_t first, c0_same, c2_same, c3_same;
    uint64_t k0[VATTN_PHILOX_ROUNDS], k1[VATTN_PHILOX_ROUNDS];
};

static inline struct vattn_philox vattn_philox_begin(uint32_t counter1, uint32_t counter2, uint32_t counter3, const uint32_t key[2]) {
    struct vattn_philox p;
    uint32_t k0 = key[0], k1 = key[1];
    for (int32_t round = 0; round < VATTN_PHILOX_ROUNDS; round++) {
        p.k0[round] = k0;
        p.k1[round] = k1;
        k0 += VATTN_PHILOX_W0;
        k1 += VATTN_PHILOX_W1;
    }
    const uint64_t p1 = (uint64_t)VATTN_PHILOX_M1 * counter2;
    const uint64_t p0 = (uint64_t)VATTN_PHILOX_M0 * ((uint32_t)(p1 >> 32) ^ counter1 ^ key[0]);
    p.first = counter3 ^ p.k1[0];
    p.c0_same = (uint32_t)p1 ^ p.k0[1];
    p.c2_same = (p0 >> 32) ^ p.k1[1];
    p.c3_same = (uint32_t)p0;
    return p;
}

/* Finaliser of SplitMix64: for keys and signs, not for draws. */
static inline uint64_t vattn_mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Uniform in (0, 1), 32 bits. */
static inline double vattn_random_uniform(uint32_t word) {
    return ((double)word + 0.5) * 0x1p-32;
}

#endif
