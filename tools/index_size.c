/* SPDX-License-Identifier: MIT */
#include "index_size.h"

#include "complain.h"
#include "selector_make.h"

#include <stdlib.h>
#include <string.h>

static struct vattn_plan * plan_of(const struct method_entry * entry, const struct index_shape * shape) {
    struct vattn_options options = {.struct_size = sizeof options,
                                    .n_heads = shape->n_heads,
                                    .n_kv_heads = shape->n_kv_heads,
                                    .head_dim = shape->head_dim,
                                    .k_type = shape->type,
                                    .v_type = shape->type,
                                    .max_keys = shape->n_keys,
                                    .method = entry->method,
                                    .disabled_tiers = method_disabled_tiers()};
    struct vattn_plan * plan = NULL;
    const char * reason = NULL;
    if (vattn_plan_create(&options, &plan, &reason) == VATTN_STATUS_INVALID_ARGUMENT)
        give_up("%s: the library refuses this shape: %s", entry->name, reason ? reason : "no reason");
    return plan; /* NULL where the method is not in this build */
}

/* Bytes of an index over kv, or one of the negative numbers. */
static double bytes_over(const struct method_entry * entry, const struct method_parameters * parameters,
                         const struct index_shape * shape, const struct vattn_kv * kv, int32_t layer) {
    struct vattn_plan * plan = plan_of(entry, shape);
    struct vattn_selector * selector = NULL;
    struct method_parameters quick = *parameters;
    double bytes = INDEX_SIZE_REFUSED;
    quick.selector.pq_iterations = 1; /* takes time, changes no size */
    if (plan == NULL)
        return INDEX_SIZE_ABSENT;
    if (entry->index == INDEX_CODE)
        bytes = (double)vattn_index_bytes(plan, kv->n_keys);
    else if (selector_try(plan, &quick, kv, layer, NULL, &selector) >= 0)
        bytes = (double)vattn_selector_bytes(selector);
    vattn_selector_free(selector);
    vattn_plan_free(plan);
    return bytes;
}

static uint64_t next_bits(uint64_t * state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Keys of one layer, uniform in (-1, 1); their size is all that matters. */
static void * random_keys(const struct index_shape * shape) {
    const size_t rows = (size_t)shape->n_keys * (size_t)shape->n_kv_heads, dim = (size_t)shape->head_dim;
    const size_t bytes = vattn_row_bytes(shape->type, shape->head_dim);
    char * keys = must_alloc(rows, bytes > 0 ? bytes : 1);
    float * row = must_alloc(dim, sizeof *row);
    uint64_t state = 1;
    for (size_t r = 0; r < rows && bytes > 0; r++) { /* else the plan is going to refuse the shape */
        for (size_t i = 0; i < dim; i++)
            row[i] = (float)((double)(next_bits(&state) >> 11) * 0x1p-52 - 1);
        vattn_row_write(shape->type, row, shape->head_dim, keys + r * bytes);
    }
    free(row);
    return keys;
}

static double bytes_of_random(const struct method_entry * entry, const struct method_parameters * parameters,
                              struct index_shape shape, int64_t n_keys) {
    shape.n_keys = n_keys;
    void * keys = random_keys(&shape);
    const size_t row = vattn_row_bytes(shape.type, shape.head_dim);
    const struct vattn_kv kv = {keys, keys, row * (size_t)shape.n_kv_heads, row, row * (size_t)shape.n_kv_heads, row, n_keys,
                                NULL};
    const double bytes = bytes_over(entry, parameters, &shape, &kv, 0);
    free(keys);
    return bytes;
}

double index_size_of_shape(const struct method_entry * entry, const struct method_parameters * parameters,
                           const struct index_shape * shape) {
    const int64_t page = parameters->selector.page > 0 ? parameters->selector.page : 16;
    const int64_t centroids = (int64_t)1 << (parameters->selector.pq_bits > 0 ? parameters->selector.pq_bits : 6);
    const int64_t step = (centroids + 64 * page - 1) / (64 * page) * 64 * page; /* whole pages, all centroids */
    if (entry->index == INDEX_NONE)
        return 0;
    const double one = bytes_of_random(entry, parameters, *shape, shape->n_keys < step ? shape->n_keys : step);
    if (one < 0 || shape->n_keys <= step)
        return one < 0 ? one : one / (double)shape->n_keys;
    const double two = bytes_of_random(entry, parameters, *shape, 2 * step);
    return two < 0 ? two : (one + (two - one) * (double)(shape->n_keys - step) / (double)step) / (double)shape->n_keys;
}

double index_size_of_capture(const struct method_entry * entry, const struct method_parameters * parameters,
                             const struct capture * capture) {
    const int64_t n = capture->n[capture->n_steps - 1];
    const struct index_shape shape = {capture->n_heads, capture->n_kv_heads, capture->head_dim, n, capture->k_type};
    const struct vattn_kv kv = capture_view(capture, n);
    if (entry->index == INDEX_NONE)
        return 0;
    const double bytes = bytes_over(entry, parameters, &shape, &kv, capture->layer);
    return bytes < 0 ? bytes : bytes / (double)n;
}
