/* SPDX-License-Identifier: MIT
 *
 * What the tests of selectors share: layers with shapes at the edges and keys with heavy tails, and checks that every
 * kind must pass.
 */
#ifndef VATTN_TEST_SELECT_CASE_H
#define VATTN_TEST_SELECT_CASE_H

#include "select/selector.h"
#include "unit/layer.h"

struct select_shape {
    int32_t heads, kv_heads, dim;
    int64_t n;
    enum vattn_type type;
    double tail; /* keys are multiplied by exp(tail x normal) each */
};

extern const struct select_shape select_shapes[];
extern const int n_select_shapes;

/* A layer for calls of one method; free it with layer_free. */
void select_layer(struct layer * l, const struct select_shape * shape, enum vattn_method method, uint64_t seed);

double select_key(const struct layer * l, int32_t g, int64_t row, int32_t a);
double select_dot(const struct layer * l, int32_t head, int64_t row); /* <q, k>, not scaled */
double select_angle(const struct layer * l, int32_t head, int64_t row);
double select_query_norm(const struct layer * l, int32_t head);
int32_t select_kv_head(const struct layer * l, int32_t head);

struct vattn_selector_options select_options(enum vattn_method kind);
struct vattn_selector * select_make(const struct layer * l, const struct vattn_selector_options * o,
                                    const float * moment);
/* How creating the selector ends; it is freed again. */
enum vattn_status select_status(const struct layer * l, const struct vattn_selector_options * o, const float * moment);

/* score() in scratch of exactly the bytes it asked for; returns what it says it read. */
int64_t select_score(const struct vattn_selector * s, const struct layer * l, int32_t head, int64_t n, float * score);

/* Share of the k best rows by exact score that are among the k best ones by the selector's; mean over heads. */
double select_recall(const struct vattn_selector * s, const struct layer * l, int64_t k);

/*
 * The checks: equal seeds give equal bits, a shorter call gives a prefix, threads do not matter, a key that is not finite is
 * refused; and calls of the method alone and of paper-d with this selector read the rows that its scores say, rows
 * beyond the index included, and count the bytes that score() returns.
 */
void select_check_kind(const struct vattn_selector_options * o);

#endif
