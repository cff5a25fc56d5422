/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_start(struct progress * progress, const char * what, int64_t total, bool wanted) {
    progress->what = what;
    progress->total = total;
    atomic_init(&progress->done, 0);
    progress->tty = isatty(STDERR_FILENO) == 1;
    progress->shown = progress->tty || wanted;
    progress->on_screen = false;
    progress->started = seconds_now();
    progress->next = progress->started + 2;
}

void progress_extend(struct progress * progress, int64_t more) {
    progress->total += more;
}

static void show(struct progress * progress, double now) {
    const double done = (double)atomic_load(&progress->done), total = (double)progress->total;
    const double left = done > 0 ? (now - progress->started) * (total - done) / done : 0;
    fprintf(stderr, "%s%s: %.0f of %.0f, %.0f %%, %.0f s left%s", progress->tty ? "\r" : "", progress->what, done,
            total, total > 0 ? 100 * done / total : 100.0, left, progress->tty ? "   " : "\n");
    progress->on_screen = true;
    progress->next = now + (progress->tty ? 0.2 : 10);
}

void progress_add(struct progress * progress, int64_t done, bool speaks) {
    atomic_fetch_add(&progress->done, done);
    if (progress->shown && speaks) {
        const double now = seconds_now();
        if (now >= progress->next)
            show(progress, now);
    }
}

void progress_end(struct progress * progress) {
    if (progress->on_screen && progress->tty)
        fprintf(stderr, "\r\033[K");
    progress->on_screen = false;
}
