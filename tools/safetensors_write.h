/* SPDX-License-Identifier: MIT
 * Write a safetensors file: all at once, under a temporary name until it is complete. */
#ifndef VATTN_TOOLS_SAFETENSORS_WRITE_H
#define VATTN_TOOLS_SAFETENSORS_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct safetensor_out {
    const char * name;
    const char * dtype; /* "F32", … */
    int n_dims;
    int64_t shape[8];
    const void * data; /* contiguous */
};

struct safetensors_text {
    const char * key;
    char text[120];
};

/* Tensors are stored in the order given: put wide elements first so that each one is aligned. */
bool safetensors_write(const char * path, const struct safetensor_out * tensors, int n_tensors,
                       const struct safetensors_text * metadata, int n_metadata, char * reason, size_t reason_bytes);

#endif
