/* SPDX-License-Identifier: MIT
 *
 * A bump allocator over memory of the caller.  The same layout code runs twice: with base NULL it only counts bytes,
 * with real memory it hands out pointers, so sizes and pointers cannot disagree.
 */
#ifndef VATTN_SCRATCH_H
#define VATTN_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#define VATTN_ALIGN ((size_t)64)

struct vattn_scratch {
    char * base; /* NULL: count only */
    size_t used;
};

static inline void * vattn_scratch_take(struct vattn_scratch * s, size_t count, size_t size) {
    size_t at = s->used;
    s->used += (count * size + VATTN_ALIGN - 1) / VATTN_ALIGN * VATTN_ALIGN;
    return s->base == NULL ? NULL : s->base + at;
}

#endif
