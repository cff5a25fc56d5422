/* SPDX-License-Identifier: MIT
 * One step of one capture made ready for calls: plan, index over the first n rows, frozen controller state.
 *
 * Every draw is a whole call that starts from the same frozen state with its own nonce, so draws are independent and a
 * draw can be repeated alone.  Draw r has nonce r; warm-up steps use nonces from 2^63 on. */
#ifndef VATTN_TOOLS_SUBJECT_H
#define VATTN_TOOLS_SUBJECT_H

#include "capture_file.h"
#include "options.h"

struct subject {
    const struct capture * capture;
    int32_t step;
    int64_t n;
    struct vattn_plan * plan;
    struct vattn_index * index; /* NULL for methods without one, and where n is too small for one */
    struct vattn_selector * selector; /* NULL for methods without one */
    struct vattn_kv kv;
    void * frozen; /* state after the warm-up */
    size_t state_bytes, call_bytes;
    size_t index_bytes; /* 0 without an index */
};

/* What one thread needs to make calls. */
struct caller {
    void * work;
    void * state;
    float * out;                     /* [n_heads][v_dim] */
    struct vattn_certificate * cert; /* [n_heads] */
    struct vattn_call * call;        /* the last one, finished */
};

/* Failures end the program with one line that names the capture. */
void subject_prepare(struct subject * subject, const struct capture * capture, int32_t step,
                     const struct attend_flags * flags);
void subject_free(struct subject * subject);

struct caller caller_create(const struct subject * subject);
void caller_free(struct caller * caller);

/* Draw r into caller->out and caller->cert; `threads` work on the one call. */
enum vattn_status subject_draw(const struct subject * subject, struct caller * caller, uint64_t r, int threads);

/* What one draw read, added up over KV heads (a KV head's figures are repeated for each of its heads). */
struct reading {
    double rows_kv_fraction; /* mean over KV heads of rows_kv / n */
    double bytes_fraction;   /* of the bytes of all visible K and V rows */
    int64_t bytes;
    double rounds; /* mean over KV heads */
};
struct reading subject_reading(const struct subject * subject, const struct vattn_certificate * cert);

/* The answer of a whole call: uncertified if any head is, else certified if any head is, else exact. */
enum vattn_answer joint_answer(const struct vattn_certificate * cert, int32_t n_heads);

#endif
