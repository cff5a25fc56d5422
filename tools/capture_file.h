/* SPDX-License-Identifier: MIT
 * A capture: the queries of some decode steps of one layer and the cache after the last of them.
 *
 *   q f32 [steps, n_heads, head_dim]   n i32 [steps]   k, v f16|f32 [n_kv_heads, n_keys, head_dim | v_dim]
 *   q_second_moment f32 [n_kv_heads, head_dim, head_dim] (optional)   metadata: scale, layer, model, text,
 *   calibrate_rows (optional) */
#ifndef VATTN_TOOLS_CAPTURE_FILE_H
#define VATTN_TOOLS_CAPTURE_FILE_H

#include "safetensors_read.h"

#include <vattn.h>

enum { CAPTURE_MADE_K = 3, CAPTURE_MADE_V = 4 }; /* places in `made` */

struct capture {
    const char * path;
    const char * name; /* the path without folders */
    struct safetensors file;
    int32_t n_steps, n_heads, n_kv_heads, head_dim, v_dim, layer;
    int64_t n_keys;
    enum vattn_type k_type, v_type;
    float scale;
    const float * q;
    const int32_t * n;
    const void *k, *v;
    const float * q_second_moment; /* NULL if the file has none */
    int64_t calibrate_rows;        /* rows that the index may see when it is calibrated; 0 = all */
    void * made[6];                /* memory of a capture that was made, not opened, or of rows in another type */
};

/* False and a sentence in reason if the file is not a well-formed capture. */
bool capture_open(const char * path, struct capture * capture, char * reason, size_t reason_bytes);
/* The same, but a failure ends the program with one line that names the file. */
void capture_must_open(const char * path, struct capture * capture);
void capture_close(struct capture * capture);

/* The cache as the library sees it, with the first n_keys rows. */
struct vattn_kv capture_view(const struct capture * capture, int64_t n_keys);
const float * capture_query(const struct capture * capture, int32_t step);

/* Element of row r of K or V of a KV head, as a double. */
void capture_k_row(const struct capture * capture, int32_t kv_head, int64_t row, double * out);
void capture_v_row(const struct capture * capture, int32_t kv_head, int64_t row, double * out);

/* Bytes of a row of K and one of V. */
size_t capture_row_bytes(const struct capture * capture);

/* Rows rounded to other types, as a cache of them would hold; the program ends if it cannot. */
void capture_store_as(struct capture * capture, enum vattn_type k_type, enum vattn_type v_type);

#endif
