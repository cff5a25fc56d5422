/* SPDX-License-Identifier: MIT
 *
 * Calls of the methods of comparison on a synthetic layer of 4 heads on 2 KV heads of 32, held against their twin.
 */
#ifndef VATTN_TEST_PAPER_CHECK_H
#define VATTN_TEST_PAPER_CHECK_H

#include "call/call.h"
#include "select/selector.h"
#include "unit/paper_twin.h"

struct vattn_options paper_options(enum vattn_method method, int64_t n);

/* A call whose result stays readable. */
struct vattn_call * paper_attend(struct layer * l, const struct vattn_input * in);

/* Scratch for calls with this selector. */
void paper_use_selector(struct layer * l, const struct vattn_selector * s);

/* One head of a finished call against the twin; marks the rows that it read. */
void paper_compare(const struct layer * l, const struct vattn_call * c, struct paper_case * which, uint64_t * read);

#endif
