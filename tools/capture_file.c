/* SPDX-License-Identifier: MIT */
#include "capture_file.h"

#include "complain.h"
#include "rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct safetensor * need(const struct capture * capture, const char * name, int n_dims, char * reason,
                                      size_t reason_bytes) {
    const struct safetensor * tensor = safetensors_find(&capture->file, name);
    if (tensor == NULL)
        snprintf(reason, reason_bytes, "not a capture: tensor '%s' is missing", name);
    else if (tensor->n_dims != n_dims)
        snprintf(reason, reason_bytes, "tensor '%s' has %d dimensions, a capture needs %d", name, tensor->n_dims,
                 n_dims);
    else if (tensor->n_elements == 0)
        snprintf(reason, reason_bytes, "tensor '%s' is empty", name);
    else
        return tensor;
    return NULL;
}

static bool row_type(const struct safetensor * tensor, enum vattn_type * type) {
    if (strcmp(tensor->dtype, "F16") == 0)
        *type = VATTN_TYPE_F16;
    else if (strcmp(tensor->dtype, "F32") == 0)
        *type = VATTN_TYPE_F32;
    else
        return false;
    return true;
}

/* Shapes that must agree, as one sentence each. */
static const char * disagreement(const struct safetensor * q, const struct safetensor * n, const struct safetensor * k,
                                 const struct safetensor * v, const struct safetensor * moment) {
    if (strcmp(q->dtype, "F32") != 0)
        return "tensor 'q' must be F32";
    if (strcmp(n->dtype, "I32") != 0)
        return "tensor 'n' must be I32";
    if (n->shape[0] != q->shape[0])
        return "'q' and 'n' disagree about the number of steps";
    if (k->shape[0] != v->shape[0] || k->shape[1] != v->shape[1])
        return "'k' and 'v' disagree about heads or keys";
    if (k->shape[2] != q->shape[2])
        return "'q' and 'k' disagree about head_dim";
    if (q->shape[1] % k->shape[0] != 0)
        return "the KV heads of 'k' do not divide the heads of 'q'";
    if (q->shape[0] > 1 << 24 || q->shape[1] > 1 << 16 || k->shape[2] > 1 << 16 || v->shape[2] > 1 << 16 ||
        k->shape[1] > INT32_MAX)
        return "a dimension is too large to be attention";
    if (moment != NULL &&
        (strcmp(moment->dtype, "F32") != 0 || moment->n_dims != 3 || moment->shape[0] != k->shape[0] ||
         moment->shape[1] != k->shape[2] || moment->shape[2] != k->shape[2]))
        return "'q_second_moment' must be F32 [n_kv_heads, head_dim, head_dim]";
    return NULL;
}

static bool read_calibrate_rows(struct capture * capture, char * reason, size_t reason_bytes) {
    const char * text = safetensors_metadata(&capture->file, "calibrate_rows");
    char * end = NULL;
    if (text == NULL)
        return true;
    capture->calibrate_rows = strtoll(text, &end, 10);
    if (end == text || *end != 0 || capture->calibrate_rows < 1 || capture->calibrate_rows > capture->n_keys) {
        snprintf(reason, reason_bytes, "metadata 'calibrate_rows' is '%.20s', not a number from 1 to %lld", text,
                 (long long)capture->n_keys);
        return false;
    }
    return true;
}

static bool read_metadata(struct capture * capture, char * reason, size_t reason_bytes) {
    const char * scale = safetensors_metadata(&capture->file, "scale");
    const char * layer = safetensors_metadata(&capture->file, "layer");
    char * end = NULL;
    if (scale == NULL) {
        snprintf(reason, reason_bytes, "metadata 'scale' is missing; the capture cannot be interpreted without it");
        return false;
    }
    capture->scale = strtof(scale, &end);
    if (end == scale || *end != 0 || !(capture->scale > 0) || !isfinite(capture->scale)) {
        snprintf(reason, reason_bytes, "metadata 'scale' is '%.20s', not a positive number", scale);
        return false;
    }
    if (layer != NULL) {
        const long value = strtol(layer, &end, 10);
        if (end == layer || *end != 0 || value < 0 || value > 16383) {
            snprintf(reason, reason_bytes, "metadata 'layer' is '%.20s', not a number from 0 to 16383", layer);
            return false;
        }
        capture->layer = (int32_t)value;
    }
    return read_calibrate_rows(capture, reason, reason_bytes);
}

static bool check_steps(const struct capture * capture, char * reason, size_t reason_bytes) {
    for (int32_t i = 0; i < capture->n_steps; i++)
        if (capture->n[i] < 1 || capture->n[i] > capture->n_keys) {
            snprintf(reason, reason_bytes, "step %d sees %d keys, the cache holds %lld", i, capture->n[i],
                     (long long)capture->n_keys);
            return false;
        }
    return true;
}

static bool interpret(struct capture * capture, char * reason, size_t reason_bytes) {
    const struct safetensor * q = need(capture, "q", 3, reason, reason_bytes);
    const struct safetensor * n = q ? need(capture, "n", 1, reason, reason_bytes) : NULL;
    const struct safetensor * k = n ? need(capture, "k", 3, reason, reason_bytes) : NULL;
    const struct safetensor * v = k ? need(capture, "v", 3, reason, reason_bytes) : NULL;
    const struct safetensor * moment = safetensors_find(&capture->file, "q_second_moment");
    const char * problem;
    if (v == NULL)
        return false;
    problem = disagreement(q, n, k, v, moment);
    if (problem == NULL && (!row_type(k, &capture->k_type) || !row_type(v, &capture->v_type)))
        problem = "'k' and 'v' must be F16 or F32";
    if (problem != NULL) {
        snprintf(reason, reason_bytes, "%s", problem);
        return false;
    }
    capture->n_steps = (int32_t)q->shape[0];
    capture->n_heads = (int32_t)q->shape[1];
    capture->head_dim = (int32_t)q->shape[2];
    capture->n_kv_heads = (int32_t)k->shape[0];
    capture->n_keys = k->shape[1];
    capture->v_dim = (int32_t)v->shape[2];
    capture->q = q->data;
    capture->n = n->data;
    capture->k = k->data;
    capture->v = v->data;
    capture->q_second_moment = moment ? moment->data : NULL;
    return read_metadata(capture, reason, reason_bytes) && check_steps(capture, reason, reason_bytes);
}

bool capture_open(const char * path, struct capture * capture, char * reason, size_t reason_bytes) {
    const char * slash = strrchr(path, '/');
    memset(capture, 0, sizeof *capture);
    capture->path = path;
    capture->name = slash ? slash + 1 : path;
    if (!safetensors_open(path, &capture->file, reason, reason_bytes))
        return false;
    if (interpret(capture, reason, reason_bytes))
        return true;
    safetensors_close(&capture->file);
    return false;
}

void capture_must_open(const char * path, struct capture * capture) {
    char reason[256];
    if (!capture_open(path, capture, reason, sizeof reason))
        give_up("%s: %s; make captures with 'vattn capture'", path, reason);
}

void capture_close(struct capture * capture) {
    safetensors_close(&capture->file);
    for (size_t i = 0; i < sizeof capture->made / sizeof *capture->made; i++)
        free(capture->made[i]);
    memset(capture, 0, sizeof *capture);
}

size_t capture_row_bytes(const struct capture * capture) {
    return vattn_row_bytes(capture->k_type, capture->head_dim) + vattn_row_bytes(capture->v_type, capture->v_dim);
}

/* All rows in another type; the place in `made` is where the old ones were, if they are the capture's own. */
static const void * restore(struct capture * capture, const void * rows, enum vattn_type from, enum vattn_type to,
                            int32_t dim, size_t place) {
    const size_t n = (size_t)capture->n_kv_heads * (size_t)capture->n_keys, width = (size_t)dim;
    const size_t old_bytes = vattn_row_bytes(from, dim), bytes = vattn_row_bytes(to, dim);
    if (bytes == 0)
        give_up("%s: --kv-type: rows of %d elements cannot be %s, which takes a multiple of 32", capture->path, dim,
                row_type_name(to));
    char * made = must_alloc(n, bytes);
    float * row = must_alloc(width, sizeof *row);
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < width; i++)
            row[i] = (float)row_element((const char *)rows + r * old_bytes, from, i);
        vattn_row_write(to, row, dim, made + r * bytes);
    }
    free(row);
    free(capture->made[place]);
    capture->made[place] = made;
    return made;
}

void capture_store_as(struct capture * capture, enum vattn_type k_type, enum vattn_type v_type) {
    if (k_type != capture->k_type)
        capture->k = restore(capture, capture->k, capture->k_type, k_type, capture->head_dim, CAPTURE_MADE_K);
    if (v_type != capture->v_type)
        capture->v = restore(capture, capture->v, capture->v_type, v_type, capture->v_dim, CAPTURE_MADE_V);
    capture->k_type = k_type;
    capture->v_type = v_type;
}

struct vattn_kv capture_view(const struct capture * capture, int64_t n_keys) {
    const size_t k_row = vattn_row_bytes(capture->k_type, capture->head_dim);
    const size_t v_row = vattn_row_bytes(capture->v_type, capture->v_dim);
    return (struct vattn_kv){
        .k = capture->k,
        .v = capture->v,
        .k_row_stride = k_row,
        .k_head_stride = k_row * (size_t)capture->n_keys,
        .v_row_stride = v_row,
        .v_head_stride = v_row * (size_t)capture->n_keys,
        .n_keys = n_keys,
    };
}

const float * capture_query(const struct capture * capture, int32_t step) {
    return capture->q + (size_t)step * (size_t)capture->n_heads * (size_t)capture->head_dim;
}

static void row_as_double(const void * base, enum vattn_type type, size_t row, int32_t length, double * out) {
    const char * at = (const char *)base + row * vattn_row_bytes(type, length);
    for (int32_t i = 0; i < length; i++)
        out[i] = row_element(at, type, (size_t)i);
}

void capture_k_row(const struct capture * capture, int32_t kv_head, int64_t row, double * out) {
    const size_t at = (size_t)kv_head * (size_t)capture->n_keys + (size_t)row;
    row_as_double(capture->k, capture->k_type, at, capture->head_dim, out);
}

void capture_v_row(const struct capture * capture, int32_t kv_head, int64_t row, double * out) {
    const size_t at = (size_t)kv_head * (size_t)capture->n_keys + (size_t)row;
    row_as_double(capture->v, capture->v_type, at, capture->v_dim, out);
}
