/* SPDX-License-Identifier: MIT
 * Exit codes and the one line on stderr that every failure of the command gives. */
#ifndef VATTN_TOOLS_COMPLAIN_H
#define VATTN_TOOLS_COMPLAIN_H

#include <stdnoreturn.h>

enum exit_code {
    EXIT_FINE = 0,   /* done, promise kept */
    EXIT_BROKEN = 1, /* done, but a promise was not kept */
    EXIT_USAGE = 2   /* bad usage or input; nothing useful was done */
};

/* The name printed in front of messages, for example "vattn verify". */
void complain_as(const char * name);

/* One line "name: message" on stderr.  The message names the file or flag, the reason and what to do. */
void complain(const char * format, ...) __attribute__((format(printf, 1, 2)));

/* complain() and leave with EXIT_USAGE. */
noreturn void give_up(const char * format, ...) __attribute__((format(printf, 1, 2)));

/* Memory that is zeroed and 64-byte aligned, or the end of the program. */
void * must_alloc(unsigned long count, unsigned long size) __attribute__((malloc));

#endif
