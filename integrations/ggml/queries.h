/* Second moments of the queries, which the index is calibrated on: mean of q q' per KV head over every 16th token. */
#ifndef PLUG_QUERIES_H
#define PLUG_QUERIES_H

#include "cache.h"

void plug_queries_note(struct plug_layer * layer, const struct ggml_tensor * q, int32_t n_threads);

/* [n_kv_heads][head_dim][head_dim] in fresh memory, to be freed; NULL if no query was seen (or no memory). */
float * plug_queries_moment(const struct plug_layer * layer);

#endif
