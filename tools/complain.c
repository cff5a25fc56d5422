/* SPDX-License-Identifier: MIT */
#include "complain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const char * speaker = "vattn";

void complain_as(const char * name) {
    speaker = name;
}

static void say(const char * format, va_list args) {
    fflush(stdout);
    fprintf(stderr, "%s: ", speaker);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

void complain(const char * format, ...) {
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

noreturn void give_up(const char * format, ...) {
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    exit(EXIT_USAGE);
}

void * must_alloc(unsigned long count, unsigned long size) {
    const unsigned long page = 2ul << 20;
    unsigned long bytes = 0, unit = 64;
    void * memory = NULL;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > (unsigned long)-1 - page)
        give_up("a table of %lu x %lu bytes does not fit in memory; use a smaller input or fewer draws", count, size);
    unit = bytes >= page ? page : unit; /* large arrays in large pages: see src/base/pages.h */
    bytes = (bytes + unit - 1) / unit * unit;
    memory = aligned_alloc(unit, bytes ? bytes : unit);
    if (memory == NULL)
        give_up("out of memory for %lu bytes; use a smaller input or fewer draws", bytes);
    if (unit == page)
        madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 0, bytes);
    return memory;
}
