/* SPDX-License-Identifier: MIT
 *
 * Rows of a sampled call: how they are cut into tasks, and which of them are always read.
 */
#ifndef VATTN_CALL_ROWS_H
#define VATTN_CALL_ROWS_H

#include "call/call.h"

/* Rows of a SCAN or GATHER task, a multiple of 64: depends on the shape alone, so results do not depend on the number of
 * threads. */
int64_t vattn_call_chunk_rows(int64_t n, int32_t n_kv_heads);

/*
 * Bit b of word w is row 16 w + b.  visible: the rows that take part; sure: those of them that are always read, which are the
 * first `sink` and the last `window` visible rows and the visible rows without a code.
 */
void vattn_call_mark_rows(const struct vattn_call * c, uint16_t * visible, uint16_t * sure);

#endif
