/* SPDX-License-Identifier: MIT
 *
 * Small whole numbers packed into bytes, lowest bits first.
 */
#ifndef VATTN_PACK_H
#define VATTN_PACK_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of n numbers of some bits. */
static inline size_t vattn_pack_bytes(int32_t n, int32_t bits) {
    return ((size_t)n * (size_t)bits + 7) / 8;
}

/* Write `bits` bits (at most 16) at bit `at`; they were zero before. */
static inline void vattn_pack(uint8_t * bytes, size_t at, int32_t bits, uint32_t value) {
    for (; bits > 0;) {
        int32_t shift = (int32_t)(at % 8), room = 8 - shift < bits ? 8 - shift : bits;
        bytes[at / 8] = (uint8_t)(bytes[at / 8] | (value & ((1U << room) - 1U)) << shift);
        value >>= room;
        at += (size_t)room;
        bits -= room;
    }
}

static inline uint32_t vattn_unpack(const uint8_t * bytes, size_t at, int32_t bits) {
    uint32_t value = 0;
    for (int32_t have = 0; have < bits;) {
        int32_t shift = (int32_t)(at % 8), room = 8 - shift < bits - have ? 8 - shift : bits - have;
        value |= ((uint32_t)bytes[at / 8] >> shift & ((1U << room) - 1U)) << have;
        at += (size_t)room;
        have += room;
    }
    return value;
}

#endif
