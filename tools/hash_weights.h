/* SPDX-License-Identifier: MIT
 * Weights of HashAttention's signatures, from a safetensors file.  Tensors of layer N, all F32:
 *
 *   layers.N.k.I.weight  [n_kv_heads, out, in]     layers.N.k.I.bias  [n_kv_heads, out]   (may be missing)
 *   layers.N.q.I.weight  [n_heads, out, in]        layers.N.q.I.bias  [n_heads, out]      (may be missing)
 *
 * I counts the linear layers from 0, at most three; `in` of the first one is head_dim, `out` of the last one the number
 * of bits, at most 64. */
#ifndef VATTN_TOOLS_HASH_WEIGHTS_H
#define VATTN_TOOLS_HASH_WEIGHTS_H

#include "safetensors_read.h"

#include <vattn_experimental.h>

struct hash_weights {
    struct safetensors file;
    struct vattn_hash_weights weights; /* points into the file */
};

/* The weights of one layer, or the end of the program with one line. */
void hash_weights_open(const char * path, int32_t layer, int32_t n_heads, int32_t n_kv_heads, int32_t head_dim,
                       struct hash_weights * out);
void hash_weights_close(struct hash_weights * weights);

#endif
