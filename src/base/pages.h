/* SPDX-License-Identifier: MIT
 *
 * Memory for large arrays: in large pages where the system has them.  A scan over an index in pages of 4 KiB misses the
 * address tables at every page, and the hardware prefetches up to its end only.
 */
#ifndef VATTN_PAGES_H
#define VATTN_PAGES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define VATTN_LARGE_PAGE ((size_t)2 << 20)

/* Like calloc, and freed by free: arrays of at least half a large page are rounded up to whole ones. */
static inline void * vattn_pages_alloc(size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / 2 / size) {
        return NULL;
    }
    size_t bytes = count * size;
    if (bytes < VATTN_LARGE_PAGE / 2) {
        return calloc(count, size);
    }
    bytes = (bytes + VATTN_LARGE_PAGE - 1) / VATTN_LARGE_PAGE * VATTN_LARGE_PAGE;
    void * memory = aligned_alloc(VATTN_LARGE_PAGE, bytes);
    if (memory != NULL) {
#if defined(MADV_HUGEPAGE)
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* only a hint */
#endif
        memset(memory, 0, bytes);
    }
    return memory;
}

#endif
