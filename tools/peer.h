/* SPDX-License-Identifier: MIT
 *
 * A program beside which `vattn bench` times itself: another attention, in a process of its own that answers one request at a time,
 * so that it takes its turn in the same run.  Started as
 *
 *     COMMAND --heads H --kv-heads G --head-dim D --keys N --type TYPE --layers L --scale S --data FILE
 *
 * FILE has for each layer in turn K [N][G][D] and V [N][G][D] of the type and q [H][D] in f32, in the byte order of the machine.
 * The program loads them into a cache of its own and says "ready".  Then for every line
 *
 *     LAYER THREADS          it answers that decode step and says the seconds this took, "%f"
 *     out LAYER THREADS      likewise, and behind that line the answer, H * D floats in binary
 *
 * until its input ends.  A program that cannot do this says why on stderr and ends.
 */
#ifndef VATTN_TOOLS_PEER_H
#define VATTN_TOOLS_PEER_H

#include <stdio.h>
#include <sys/types.h>

#include "synthetic.h"

enum { PEER_MOST = 8, PEER_NAME_BYTES = 32 };

struct peer {
    char name[PEER_NAME_BYTES];
    pid_t process;
    FILE *to, *from;
};

/* Layers in a file without a name that every peer of a run reads (as /dev/fd/3); the caller closes it. */
int peer_write_layers(const struct synthetic_shape * shape, const struct synthetic_layer * layers, int n_layers);

/* text: NAME=COMMAND, the words of the command parted by spaces.  Returns at once, so that peers load side by side;
 * the first request waits for "ready".  Everything that goes wrong ends the program with one line. */
struct peer peer_start(const char * text, const struct synthetic_shape * shape, int n_layers, int file);
void peer_await(struct peer * peer);

double peer_seconds(struct peer * peer, int layer, int threads);
void peer_answer(struct peer * peer, int layer, int threads, float * out, size_t n);
void peer_stop(struct peer * peer);

#endif
