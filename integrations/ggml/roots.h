/*
 * The host's cache tensors ("roots"), as seen while graphs are built.
 *
 * Keyed by address and shape, because node names repeat and addresses are recycled between contexts.  Building a graph and
 * computing one may happen on different threads, so every function takes one lock for its whole work.
 */
#ifndef PLUG_ROOTS_H
#define PLUG_ROOTS_H

#include "abi.h"

/* The tensor that owns the memory. */
static inline const struct ggml_tensor * plug_root_of(const struct ggml_tensor * tensor) {
    return tensor->view_src != NULL ? tensor->view_src : tensor;
}

/* Attention reads these caches: from now on their writes are ours and foreign operations on them count. */
void plug_roots_attend(const struct ggml_tensor * k_root, const struct ggml_tensor * v_root);
bool plug_roots_attended(const struct ggml_tensor * root);

/* Layers with attention known so far, at least 1. */
int32_t plug_roots_layers(void);

/* True for a cache that has only ever been viewed in full: see claim.c. */
bool plug_roots_only_full_views(const struct ggml_tensor * k);

/* An operation that is not ours may write this cache once its graph runs. */
void plug_roots_foreign_write(const struct ggml_tensor * root);

/* A number that differs whenever a foreign write came in between; also makes `owner` the one who keeps the entry. */
uint64_t plug_roots_generation(const struct ggml_tensor * root, const void * owner);

/* The owner is freed: forget its roots and those that nobody ever computed on. */
void plug_roots_drop(const void * owner);

#endif
