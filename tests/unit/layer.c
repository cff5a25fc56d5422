/* SPDX-License-Identifier: MIT */
#include "unit/layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/half.h"
#include "base/random.h"

static double uniform(uint64_t seed, uint64_t i) {
    const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), 7, vattn_random_stream(VATTN_RANDOM_TEST, 0, 0)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return vattn_random_uniform(word[0]);
}

static double normal(uint64_t seed, uint64_t i) {
    return sqrt(-2.0 * log(uniform(seed, 2 * i))) * cos(6.283185307179586 * uniform(seed, 2 * i + 1));
}

struct vattn_options layer_options(int32_t n_heads, int32_t n_kv_heads, int32_t head_dim, int64_t n) {
    return (struct vattn_options){.struct_size = sizeof(struct vattn_options), .n_heads = n_heads,
                                  .n_kv_heads = n_kv_heads, .head_dim = head_dim, .k_type = VATTN_TYPE_F16,
                                  .v_type = VATTN_TYPE_F16, .max_keys = n};
}

/* Rows of a type, and x becomes what they hold. */
static void * convert(float * x, size_t n_rows, int32_t dim, enum vattn_type type) {
    size_t bytes = vattn_row_bytes(type, dim), width = (size_t)dim;
    char * out = aligned_alloc(64, (n_rows * bytes + 63) / 64 * 64);
    for (size_t i = 0; i < n_rows; i++) {
        vattn_row_write(type, x + i * width, dim, out + i * bytes);
        vattn_row_read(type, out + i * bytes, dim, x + i * width);
    }
    return out;
}

/* Coordinate scales fall off; channel 3 is an outlier channel with a large mean. */
static void fill(struct layer * l, uint64_t seed) {
    const struct vattn_options * o = vattn_plan_options(l->plan);
    size_t n = (size_t)o->max_keys, hk = (size_t)o->n_kv_heads, d = (size_t)o->head_dim, dv = (size_t)o->v_dim;
    for (size_t i = 0; i < n * hk * d; i++) {
        size_t a = i % d;
        double x = normal(seed, i) * 3.0 / (1.0 + (double)a * 0.3) + (a == 3 ? 8.0 : 0.0);
        l->k32[i] = vattn_half_to_float(vattn_half_from_float((float)x));
    }
    for (size_t i = 0; i < n * hk * dv; i++) {
        double x = 0.4 + normal(seed + 1, i);
        l->v32[i] = vattn_half_to_float(vattn_half_from_float((float)x));
    }
    for (size_t i = 0; i < (size_t)o->n_heads * d; i++) {
        l->q[i] = (float)(normal(seed + 2, i) * (i % d < 8 ? 1.5 : 0.7));
    }
    for (size_t g = 0; g < hk; g++) {
        for (size_t a = 0; a < d; a++) {
            l->moment[(g * d + a) * d + a] = a < 8 ? 2.25F : 0.49F;
        }
    }
}

void layer_make(struct layer * l, const struct vattn_options * options, uint64_t seed) {
    memset(l, 0, sizeof *l);
    const char * reason = NULL;
    if (vattn_plan_create(options, &l->plan, &reason) != VATTN_STATUS_OK) {
        abort();
    }
    const struct vattn_options * o = vattn_plan_options(l->plan);
    l->options = *o;
    size_t n = (size_t)o->max_keys, hk = (size_t)o->n_kv_heads, d = (size_t)o->head_dim, dv = (size_t)o->v_dim;
    l->k32 = malloc(n * hk * d * sizeof(float));
    l->v32 = malloc(n * hk * dv * sizeof(float));
    l->q = malloc((size_t)o->n_heads * d * sizeof(float));
    l->out = calloc((size_t)o->n_heads * dv, sizeof(float));
    l->moment = calloc(hk * d * d, sizeof(float));
    l->cert = calloc((size_t)o->n_heads, sizeof *l->cert);
    fill(l, seed);
    l->k = convert(l->k32, n * hk, o->head_dim, o->k_type);
    l->v = convert(l->v32, n * hk, o->v_dim, o->v_type);
    size_t kb = vattn_row_bytes(o->k_type, o->head_dim), vb = vattn_row_bytes(o->v_type, o->v_dim);
    l->kv = (struct vattn_kv){l->k, l->v, hk * kb, kb, hk * vb, vb, (int64_t)n, NULL};
    l->work_bytes = vattn_call_bytes(l->plan);
    l->work = aligned_alloc(64, l->work_bytes);
}

void layer_index(struct layer * l) {
    if (vattn_index_create(l->plan, l->kv.n_keys, &l->index) != VATTN_STATUS_OK ||
        vattn_index_calibrate(l->index, &l->kv, l->moment) != VATTN_STATUS_OK ||
        vattn_index_encode(l->index, &l->kv, 0, l->kv.n_keys) != VATTN_STATUS_OK) {
        abort();
    }
}

void layer_free(struct layer * l) {
    vattn_index_free(l->index);
    vattn_plan_free(l->plan);
    free(l->k);
    free(l->v);
    free(l->k32);
    free(l->v32);
    free(l->q);
    free(l->out);
    free(l->moment);
    free(l->cert);
    free(l->work);
}

struct vattn_input layer_input(struct layer * l, uint64_t nonce) {
    return (struct vattn_input){.kv = &l->kv, .index = l->index, .q = l->q, .out = l->out, .cert = l->cert, .nonce = nonce};
}

void layer_truth(const struct layer * l, int32_t h, double * out) {
    const struct vattn_options * o = &l->options;
    int32_t g = h / (o->n_heads / o->n_kv_heads), d = o->head_dim, dv = o->v_dim, hk = o->n_kv_heads;
    double m = -INFINITY, sum = 0.0;
    double * s = malloc((size_t)l->kv.n_keys * sizeof *s);
    for (int64_t r = 0; r < l->kv.n_keys; r++) {
        s[r] = 0.0;
        for (int32_t a = 0; a < d; a++) {
            s[r] += (double)l->q[h * d + a] * (double)l->k32[((size_t)r * (size_t)hk + (size_t)g) * (size_t)d + (size_t)a];
        }
        s[r] *= (double)o->scale;
        if (l->kv.visible != NULL && !vattn_bit(l->kv.visible, r)) {
            s[r] = -INFINITY;
        }
        m = fmax(m, s[r]);
    }
    memset(out, 0, (size_t)dv * sizeof *out);
    for (int64_t r = 0; r < l->kv.n_keys; r++) {
        double e = s[r] == -INFINITY ? 0.0 : exp(s[r] - m);
        sum += e;
        for (int32_t a = 0; a < dv; a++) {
            out[a] += e * (double)l->v32[((size_t)r * (size_t)hk + (size_t)g) * (size_t)dv + (size_t)a];
        }
    }
    for (int32_t a = 0; a < dv; a++) {
        out[a] = sum > 0.0 ? out[a] / sum : 0.0;
    }
    free(s);
}

double layer_error(const struct layer * l) {
    int32_t dv = l->options.v_dim;
    double * o = malloc((size_t)dv * sizeof *o);
    double worst = 0.0;
    for (int32_t h = 0; h < l->options.n_heads; h++) {
        double difference = 0.0, norm = 0.0;
        layer_truth(l, h, o);
        for (int32_t a = 0; a < dv; a++) {
            double x = (double)l->out[h * dv + a] - o[a];
            difference += x * x;
            norm += o[a] * o[a];
        }
        double e = sqrt(difference / (norm > 0.0 ? norm : 1.0));
        worst = !(e <= worst) ? e : worst;
    }
    free(o);
    return worst;
}
