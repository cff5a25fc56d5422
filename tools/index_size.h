/* SPDX-License-Identifier: MIT
 * How many bytes a method's index takes: measured on indexes that the library really builds. */
#ifndef VATTN_TOOLS_INDEX_SIZE_H
#define VATTN_TOOLS_INDEX_SIZE_H

#include "capture_file.h"
#include "methods.h"

/* Instead of a size: the library refuses the parameters; this build does not have the method. */
enum { INDEX_SIZE_REFUSED = -2, INDEX_SIZE_ABSENT = -1 };

/* What the sizes are asked for. */
struct index_shape {
    int32_t n_heads, n_kv_heads, head_dim;
    int64_t n_keys;
    enum vattn_type type;
};

/*
 * Bytes per key of one layer (all KV heads together); 0 where nothing is kept, one of the two below where there is none.
 * The index is built over two small sets of random keys (over as many as asked for, if they are few); sizes are affine in
 * the number of keys.
 */
double index_size_of_shape(const struct method_entry * entry, const struct method_parameters * parameters,
                           const struct index_shape * shape);

/* The same, built over all keys of a capture. */
double index_size_of_capture(const struct method_entry * entry, const struct method_parameters * parameters,
                             const struct capture * capture);

#endif
