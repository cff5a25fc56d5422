/* SPDX-License-Identifier: MIT */
#include "synthetic.h"

#include "complain.h"
#include "progress.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const double DECAY = 0.75; /* sd of key coordinate j is (1 + j)^-DECAY */
static const size_t HUGE_PAGE = (size_t)2 << 20;

/* splitmix64 */
static uint64_t next_bits(uint64_t * state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Nearly normal: the sum of four uniform numbers, scaled to variance 1. */
static float next_normal(uint64_t * state) {
    const uint64_t z = next_bits(state);
    const uint64_t sum = (z & 65535) + (z >> 16 & 65535) + (z >> 32 & 65535) + (z >> 48);
    return ((float)sum - 131070.0f) * (1.7320508f / 65536.0f);
}

/* A token's rows of all KV heads; where no such row exists the plan is going to say so. */
static size_t token_bytes(const struct synthetic_shape * shape) {
    return (size_t)shape->n_kv_heads * vattn_row_bytes(shape->type, shape->head_dim);
}

size_t synthetic_layer_bytes(const struct synthetic_shape * shape) {
    return 2 * (size_t)shape->n_keys * token_bytes(shape);
}

static double key_sd(int32_t j) {
    return pow(1.0 + j, -DECAY);
}

/* Queries have equal variance in all coordinates; this is the one that gives the scores their spread. */
static double query_variance(const struct synthetic_shape * shape) {
    double sum = 0; /* Var(scale <q, k>) = scale^2 * Var(q_j) * sum_j Var(k_j) */
    for (int32_t j = 0; j < shape->head_dim; j++)
        sum += key_sd(j) * key_sd(j);
    return shape->score_sd * shape->score_sd * shape->head_dim / sum;
}

/* One row of K or V; every row has its own stream, so the data does not depend on the number of threads. */
static void fill_row(const struct synthetic_shape * shape, void * base, int64_t row, const float * mean,
                     const float * sd, uint64_t seed) {
    uint64_t state = seed + (uint64_t)row * 0xd1342543de82ef95u;
    const size_t bytes = vattn_row_bytes(shape->type, shape->head_dim);
    char * to = (char *)base + (size_t)row * token_bytes(shape);
    float x[576];
    for (int32_t g = 0; g < shape->n_kv_heads; g++, to += bytes) {
        for (int32_t j = 0; j < shape->head_dim; j++)
            x[j] = mean[j] + sd[j] * next_normal(&state);
        vattn_row_write(shape->type, x, shape->head_dim, to);
    }
}

static void * big_alloc(size_t bytes) {
    const size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void * memory = aligned_alloc(alignment, rounded);
    if (memory == NULL)
        give_up("out of memory for %zu bytes of synthetic keys; lower --keys or --kv-heads", bytes);
    if (alignment == HUGE_PAGE)
        madvise(memory, rounded, MADV_HUGEPAGE);
    return memory;
}

static void fill(const struct synthetic_shape * shape, void * base, const float * mean, const float * sd, uint64_t seed,
                 int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < shape->n_keys; row++)
        fill_row(shape, base, row, mean, sd, seed);
    (void)threads;
}

static void fill_queries(const struct synthetic_shape * shape, float * q, uint64_t seed) {
    const float sd = (float)sqrt(query_variance(shape));
    uint64_t state = seed;
    const size_t n = (size_t)shape->n_heads * (size_t)shape->head_dim;
    for (size_t i = 0; i < n; i++)
        q[i] = sd * next_normal(&state);
}

struct synthetic_layer synthetic_layer_create(const struct synthetic_shape * shape, uint64_t seed, int threads) {
    const size_t half = synthetic_layer_bytes(shape) / 2;
    float * parameters = must_alloc(4 * (size_t)shape->head_dim, sizeof(float));
    float *k_mean = parameters, *k_sd = k_mean + shape->head_dim, *v_mean = k_sd + shape->head_dim,
          *v_sd = v_mean + shape->head_dim;
    struct synthetic_layer layer = {.k = big_alloc(half), .v = big_alloc(half)};
    uint64_t state = seed * 3 + 1;
    for (int32_t j = 0; j < shape->head_dim; j++) {
        k_sd[j] = (float)key_sd(j);
        v_mean[j] = next_normal(&state);
        v_sd[j] = 1;
    }
    fill(shape, layer.k, k_mean, k_sd, next_bits(&state), threads);
    fill(shape, layer.v, v_mean, v_sd, next_bits(&state), threads);
    free(parameters);
    layer.q = must_alloc((size_t)shape->n_heads * (size_t)shape->head_dim, sizeof(float));
    fill_queries(shape, layer.q, next_bits(&state));
    layer.kv = (struct vattn_kv){
        .k = layer.k,
        .v = layer.v,
        .k_row_stride = token_bytes(shape),
        .v_row_stride = token_bytes(shape),
        .k_head_stride = vattn_row_bytes(shape->type, shape->head_dim),
        .v_head_stride = vattn_row_bytes(shape->type, shape->head_dim),
        .n_keys = shape->n_keys,
    };
    return layer;
}

void synthetic_layer_free(struct synthetic_layer * layer) {
    free(layer->k);
    free(layer->v);
    free(layer->q);
    memset(layer, 0, sizeof *layer);
}

float * synthetic_second_moment(const struct synthetic_shape * shape) {
    const size_t d = (size_t)shape->head_dim;
    float * moment = must_alloc((size_t)shape->n_kv_heads * d * d, sizeof *moment);
    for (size_t g = 0; g < (size_t)shape->n_kv_heads; g++)
        for (size_t j = 0; j < d; j++)
            moment[(g * d + j) * d + j] = (float)query_variance(shape);
    return moment;
}

typedef uint64_t lanes __attribute__((vector_size(64)));

/* Add up a block of memory; the sum only keeps the compiler from leaving the reads out. */
static uint64_t add_up(const lanes * data, size_t n) {
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    uint64_t sum = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        a += data[i];
        b += data[i + 1];
        c += data[i + 2];
        d += data[i + 3];
    }
    for (; i < n; i++)
        a += data[i];
    a += b + c + d;
    for (int j = 0; j < 8; j++)
        sum += a[j];
    return sum;
}

double synthetic_stream_seconds(const struct synthetic_shape * shape, const struct synthetic_layer * layer,
                                int threads) {
    static volatile uint64_t sink;
    const size_t n = synthetic_layer_bytes(shape) / 2 / sizeof(lanes);
    const double started = seconds_now();
    uint64_t sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    {
        const size_t me = (size_t)omp_get_thread_num(), all = (size_t)omp_get_num_threads();
        const size_t begin = n * me / all, end = n * (me + 1) / all;
        sum += add_up((const lanes *)layer->k + begin, end - begin);
        sum += add_up((const lanes *)layer->v + begin, end - begin);
    }
    (void)threads;
    sink = sum;
    (void)sink;
    return seconds_now() - started;
}

/* Rows of one KV head, from first on, one in `one_in`; the addresses are known a while ahead, as they are from a list. */
static uint64_t add_up_rows(const struct synthetic_shape * shape, const char * first, int64_t n_rows, int32_t one_in,
                            uint64_t seed, int64_t * read) {
    enum { AHEAD = 16 };
    const size_t bytes = vattn_row_bytes(shape->type, shape->head_dim), stride = token_bytes(shape);
    const char * next[AHEAD];
    uint64_t sum = 0;
    int64_t row = 0, n = 0;
    for (;; n++) {
        if (n >= AHEAD) {
            for (size_t i = 0; i + 8 <= bytes; i += 8) {
                uint64_t word;
                memcpy(&word, next[n % AHEAD] + i, sizeof word);
                sum += word;
            }
        }
        row += 1 + (int64_t)(next_bits(&seed) % (uint64_t)(2 * one_in - 1));
        if (row >= n_rows)
            break;
        next[n % AHEAD] = first + (size_t)row * stride;
        for (size_t i = 0; i < bytes; i += 64)
            __builtin_prefetch(next[n % AHEAD] + i, 0, 2);
    }
    *read += n > AHEAD ? n - AHEAD : 0;
    return sum;
}

double synthetic_gather_seconds(const struct synthetic_shape * shape, const struct synthetic_layer * layer,
                                int32_t one_in, int threads, double * bytes) {
    static volatile uint64_t sink;
    const double started = seconds_now();
    uint64_t sum = 0;
    int64_t read = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum, read)
    {
        const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t begin = shape->n_keys * me / all, end = shape->n_keys * (me + 1) / all;
        for (int32_t g = 0; g < shape->n_kv_heads; g++) {
            const char * first = (const char *)layer->k + (size_t)begin * token_bytes(shape) +
                                 (size_t)g * vattn_row_bytes(shape->type, shape->head_dim);
            sum += add_up_rows(shape, first, end - begin, one_in, (uint64_t)(g * all + me + 1), &read);
        }
    }
    (void)threads;
    sink = sum;
    (void)sink;
    *bytes = (double)read * (double)vattn_row_bytes(shape->type, shape->head_dim);
    return seconds_now() - started;
}
