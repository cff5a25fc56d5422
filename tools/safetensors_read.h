/* SPDX-License-Identifier: MIT
 * A reader of safetensors files that believes nothing: every length, offset and shape is checked before it is used.
 *
 *   u64 little endian: length of the header | JSON header | data
 *   header: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {"key": "text"}}
 *
 * Workload: a few tensors of megabytes to gigabytes; the file is mapped, not read. */
#ifndef VATTN_TOOLS_SAFETENSORS_READ_H
#define VATTN_TOOLS_SAFETENSORS_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SAFETENSORS_MAX_DIMS = 8 };

struct safetensor {
    char * name;
    char dtype[8];
    size_t element_bytes;
    int n_dims;
    int64_t shape[SAFETENSORS_MAX_DIMS];
    int64_t n_elements;
    const void * data; /* aligned to element_bytes */
    void * copy;       /* owned copy when the file itself is not aligned, else NULL */
};

struct safetensors_pair {
    char * key;
    char * text;
};

struct safetensors {
    struct safetensor * tensors;
    int n_tensors;
    struct safetensors_pair * metadata;
    int n_metadata;
    void * map;
    size_t map_bytes;
};

/* Map and check a file.  False and a sentence in reason (without the file's name) on any problem. */
bool safetensors_open(const char * path, struct safetensors * file, char * reason, size_t reason_bytes);
void safetensors_close(struct safetensors * file);

/* NULL if there is no such tensor or key. */
const struct safetensor * safetensors_find(const struct safetensors * file, const char * name);
const char * safetensors_metadata(const struct safetensors * file, const char * key);

/* Bytes of one element of a dtype such as "F16"; 0 if unknown. */
size_t safetensors_dtype_bytes(const char * dtype);

#endif
