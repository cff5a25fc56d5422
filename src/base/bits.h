/* SPDX-License-Identifier: MIT
 *
 * Bit sets over rows: bit (r & 63) of word r >> 6.
 */
#ifndef VATTN_BITS_H
#define VATTN_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline int64_t vattn_words(int64_t bits) {
    return (bits + 63) / 64;
}

static inline bool vattn_bit(const uint64_t * set, int64_t i) {
    return (set[i >> 6] >> (i & 63)) & 1U;
}

static inline void vattn_bit_set(uint64_t * set, int64_t i) {
    set[i >> 6] |= (uint64_t)1 << (i & 63);
}

static inline void vattn_bit_clear(uint64_t * set, int64_t i) {
    set[i >> 6] &= ~((uint64_t)1 << (i & 63));
}

/* The bits of word w that lie below n. */
static inline uint64_t vattn_word_limit(int64_t w, int64_t n) {
    int64_t left = n - w * 64;
    return left >= 64 ? ~(uint64_t)0 : left <= 0 ? 0 : ((uint64_t)1 << left) - 1;
}

/* Word w of a set that may be NULL (all ones), cut off at n. */
static inline uint64_t vattn_word(const uint64_t * set, int64_t w, int64_t n) {
    return (set == NULL ? ~(uint64_t)0 : set[w]) & vattn_word_limit(w, n);
}

static inline int vattn_popcount(uint64_t x) {
    return __builtin_popcountll(x);
}

/* Bits of a set that may be NULL (all ones) below n. */
static inline int64_t vattn_count(const uint64_t * set, int64_t n) {
    int64_t count = set == NULL ? n : 0;
    for (int64_t w = 0; set != NULL && w < vattn_words(n); w++) {
        count += vattn_popcount(vattn_word(set, w, n));
    }
    return count;
}

static inline int vattn_lowest(uint64_t x) {
    return __builtin_ctzll(x);
}

#endif
