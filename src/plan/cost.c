/* SPDX-License-Identifier: MIT */
#include "plan/cost.h"

#include <math.h>
#include <string.h>

#include "base/row.h"

/* Multiplications take so many times what they take with AVX-512. */
static double slowness(const struct vattn_kernels * kern) {
    return strcmp(kern->name, "avx512") == 0 ? 1.0 : strcmp(kern->name, "generic") == 0 ? 16.0 : 1.6;
}

static double row_bytes(int32_t dim, enum vattn_type type) {
    return (double)vattn_row_size(type, dim);
}

/* Elements of q8_0 cost three more steps than halves before they are multiplied, once for all heads. */
static double widening(int32_t dim, enum vattn_type type) {
    return type == VATTN_TYPE_Q8_0 ? 0.026 * dim : 0.0;
}

struct vattn_cost vattn_cost_of(const struct vattn_options * o, const struct vattn_kernels * kern) {
    double slow = slowness(kern), heads = (double)o->n_heads / o->n_kv_heads;
    double k_bytes = row_bytes(o->head_dim, o->k_type), v_bytes = row_bytes(o->v_dim, o->v_type);
    double k_products = heads * o->head_dim * slow, v_products = heads * o->v_dim * slow;
    double k_wide = widening(o->head_dim, o->k_type) * slow, v_wide = widening(o->v_dim, o->v_type) * slow;
    double code = o->code_bits * o->head_dim / 8.0;
    /* 1.3: whole calls take so much longer than the kernels alone */
    return (struct vattn_cost){
        .dense = 1.3 * (fmax(k_bytes / 16.0, 1.0 + k_wide + 0.022 * k_products) +
                        fmax(v_bytes / 16.0, 1.0 + v_wide + 0.018 * v_products)) +
                 0.3 * heads * slow,
        .start = 1400.0 + 10.0 * k_products,
        .scan = fmax(code / 12.0, 0.3 + 0.012 * heads * code * slow) + 0.4 * heads,
        .look = (3300.0 + 2400.0 * heads) * slow,
        .draw = (0.7 + 0.06 * heads) * slow,
        .key = 4.0 + 0.15 * k_bytes + k_wide + 0.025 * k_products,
        .value = 12.0 + 0.11 * v_bytes + v_wide + 8.8 * heads * slow + 0.145 * v_products,
    };
}
