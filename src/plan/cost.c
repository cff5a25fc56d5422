/* SPDX-License-Identifier: MIT */
#include "plan/cost.h"

#include <math.h>
#include <string.h>

#include "base/row.h"

/*
 * What a tier takes for one thing, in nanoseconds.  Bytes are of a row of K or of V (in `code`, of its code); products are
 * query heads x dimensions, looks and values have a part for every head.
 */
struct rates {
    double stream, stream_also, dense, dense_product, dense_head; /* K or V: max(stream bytes, dense + stream_also bytes + products) */
    double widen;                                                 /* an element of q8_0, once for all heads */
    double start, start_product;
    double code, scan, scan_product, scan_head;
    double look, look_head;
    double draw, draw_head;
    double key, key_byte, key_product;
    double value, value_byte, value_head, value_product;
};

/*
 * 25,000 KV heads on the server of docs/performance.md, machine A; kernels alone, 1.3 times what they take: whole calls do.  Looks and
 * values were measured with another judge, and are here what they were times what the new one changed in the rates of AVX2.
 */
static const struct rates avx512 = {
    .stream = 1.3 / 16.0, .dense = 1.3, .dense_product = 1.3 * 0.020, .dense_head = 0.15, .widen = 0.026,
    .start = 1400.0, .start_product = 10.0,
    .code = 1.0 / 12.0, .scan = 0.3, .scan_product = 0.012, .scan_head = 0.4,
    .look = 5000.0, .look_head = 3600.0,
    .draw = 0.7, .draw_head = 0.06,
    .key = 4.0, .key_byte = 0.15, .key_product = 0.025,
    .value = 12.0, .value_byte = 0.11, .value_head = 5.8, .value_product = 0.084,
};

/* Whole calls of seven shapes on machine B, less half of what kernels and the judge gained later: with all of it SmolLM2 at 7k was
 * sampled where exact was faster in two runs of four (docs/performance.md). */
static const struct rates avx2 = {
    .stream = 0.0446, .stream_also = 0.0178, .dense = -0.7, .dense_product = 0.0344, .widen = 0.042,
    .start = 1580.0, .start_product = 18.0,
    .code = 0.112, .scan = 0.40, .scan_product = 0.018, .scan_head = 0.52,
    .look = 7650.0, .look_head = 4800.0,
    .draw = 1.35, .draw_head = 0.13,
    .key = 3.9, .key_byte = 0.146, .key_product = 0.042,
    .value = 9.0, .value_byte = 0.083, .value_head = 6.0, .value_product = 0.123,
};

/* Without vector instructions everything that is computed takes some ten times as long; memory does not. */
#define SCALAR 10.0

/* Of the elements of a row of dim, before they are multiplied. */
static double widening(const struct rates * r, double dim, enum vattn_type type) {
    return type == VATTN_TYPE_Q8_0 ? r->widen * dim : 0.0;
}

static double dense(const struct rates * r, double bytes, double dim, double heads, double wide, double slow) {
    double products = r->dense_product * heads * dim + r->dense_head * heads;
    return fmax(r->stream * bytes, r->dense + r->stream_also * bytes + slow * (wide + products));
}

struct vattn_cost vattn_cost_of(const struct vattn_options * o, const struct vattn_kernels * kern) {
    const struct rates * r = strcmp(kern->name, "avx512") == 0 ? &avx512 : &avx2; /* NEON: unknown, as AVX2 */
    double slow = strcmp(kern->name, "generic") == 0 ? SCALAR : 1.0, heads = (double)o->n_heads / o->n_kv_heads;
    double k_bytes = (double)vattn_row_size(o->k_type, o->head_dim), v_bytes = (double)vattn_row_size(o->v_type, o->v_dim);
    double k_wide = widening(r, o->head_dim, o->k_type), v_wide = widening(r, o->v_dim, o->v_type);
    double k_products = heads * o->head_dim, v_products = heads * o->v_dim, code = o->code_bits * o->head_dim / 8.0;
    return (struct vattn_cost){
        .dense = dense(r, k_bytes, o->head_dim, heads, k_wide, slow) + dense(r, v_bytes, o->v_dim, heads, v_wide, slow),
        .start = r->start + slow * r->start_product * k_products,
        .scan = fmax(r->code * code, r->scan + slow * r->scan_product * heads * code) + r->scan_head * heads,
        .look = slow * (r->look + r->look_head * heads),
        .draw = slow * (r->draw + r->draw_head * heads),
        .key = r->key + r->key_byte * k_bytes + slow * (k_wide + r->key_product * k_products),
        .value = r->value + r->value_byte * v_bytes + slow * (v_wide + r->value_head * heads + r->value_product * v_products),
    };
}
