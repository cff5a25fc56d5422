/* The host's writes into its caches. */
#ifndef PLUG_SET_ROWS_H
#define PLUG_SET_ROWS_H

#include "cache.h"

/* Copy rows of f32 to the places that an index tensor names: the bits that the CPU backend would write (of q8_0 the one for AVX2). */
void plug_set_rows(const struct ggml_tensor * node);

/* Tell the layers that use this cache which rows change. */
void plug_set_rows_note(struct plug_layer * layers, const struct ggml_tensor * node);

int64_t plug_set_rows_count(const struct ggml_tensor * node);

#endif
