/* SPDX-License-Identifier: MIT
 * A line on stderr for work that takes more than two seconds: share done and time left. */
#ifndef VATTN_TOOLS_PROGRESS_H
#define VATTN_TOOLS_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char * what;
    int64_t total;
    atomic_llong done;
    bool shown; /* is anybody to see it */
    bool tty;   /* rewrite one line, else a line every ten seconds */
    bool on_screen;
    double started, next;
};

/* Shown on a terminal, or if `wanted`. */
void progress_start(struct progress * progress, const char * what, int64_t total, bool wanted);
/* More work was found. */
void progress_extend(struct progress * progress, int64_t more);
/* Any thread; only the calling team's first thread (`speaks`) prints. */
void progress_add(struct progress * progress, int64_t done, bool speaks);
void progress_end(struct progress * progress);

double seconds_now(void);

#endif
