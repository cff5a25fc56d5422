/* SPDX-License-Identifier: MIT
 * Captures made in memory, each built to break an estimator of one kind.
 *
 * A generator is a description: what the queries look like, and one row of K and V as a function of its number.  Rows are
 * stored in f16 and go the way of real ones: the index is calibrated and encoded by the library, calls are real calls.
 * Everything is a function of (name, size, seed); the number of threads does not matter. */
#ifndef VATTN_TOOLS_GENERATOR_H
#define VATTN_TOOLS_GENERATOR_H

#include "capture_file.h"

/* 0 = what the generator prefers. */
struct generator_size {
    int64_t keys;
    int32_t head_dim, group, kv_heads;
    double spread; /* of the scores, nats */
    uint64_t seed;
};

struct draft;  /* the layer under construction, generator_draft.h */
struct random; /* the stream of one row */

/* Why a generator is not one of 'all'. */
enum generator_note {
    GENERATOR_USUAL,
    GENERATOR_LONG,   /* takes minutes */
    GENERATOR_OUTSIDE /* keys that no sample can see: outside the promise of methods without bounds on unread scores */
};

struct generator {
    const char * name;
    const char * what; /* one line for people */
    struct generator_size usual;
    void (*shape)(struct draft *);   /* variances, means, spread, steps; may be NULL */
    void (*queries)(struct draft *); /* changes the usual queries and their second moment; may be NULL */
    /* changes the usual row; may be NULL */
    void (*row)(const struct draft *, int32_t kv_head, int64_t row, struct random *, float * k, float * v);
    enum generator_note note;
};

extern const struct generator generator_table[];
extern const int generator_count;

/* NULL if there is none of this name. */
const struct generator * generator_find(const char * name);

/* A capture with path "generator:NAME"; capture_close() frees it.  Ends the program where the size makes no sense. */
struct capture generator_make(const struct generator * generator, const struct generator_size * size, int threads);

/* Write it (any capture) as DIR/NAME.safetensors for others to replay; false and a reason if that fails. */
bool generator_save(const struct capture * capture, const char * directory, char * reason, size_t reason_bytes);

#endif
