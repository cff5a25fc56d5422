/* SPDX-License-Identifier: MIT */
#include "select/kmeans.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "select/rows.h"

enum { TILE = 256, BATCH = 32 };

static void point(const struct vattn_points * p, int64_t i, float * x) {
    vattn_row_floats(&p->rows, i, p->plan->opt.k_type, p->first, p->dim, x);
}

/* Points [begin, begin + n) as rows that start at the first element. */
static struct vattn_rows part(const struct vattn_points * p, int64_t begin, int32_t n) {
    size_t skip = vattn_row_size(p->plan->opt.k_type, p->first) + (size_t)begin * p->rows.stride;
    return (struct vattn_rows){.base = (const char *)p->rows.base + skip, .stride = p->rows.stride, .n = n};
}

/* Half the squared length: ||x - c||^2 / 2 = ||x||^2 / 2 - (<x, c> - ||c||^2 / 2). */
static float half_square(const float * c, int32_t dim) {
    double sum = 0.0;
    for (int32_t d = 0; d < dim; d++) {
        sum += (double)c[d] * (double)c[d];
    }
    return (float)(0.5 * sum);
}

static void products(const struct vattn_points * p, const struct vattn_rows * rows, const float * centroid, int32_t n,
                     float * out) {
    p->plan->kern->score[p->plan->opt.k_type](rows, centroid, n, p->dim, out, TILE);
}

/* The nearest centroids of one tile. */
static void assign_tile(const struct vattn_points * p, const struct vattn_rows * rows, const float * centroid,
                        int32_t k, uint16_t * nearest) {
    float out[BATCH * TILE], best[TILE];
    for (int32_t i = 0; i < rows->n; i++) {
        best[i] = -INFINITY;
        nearest[i] = 0;
    }
    for (int32_t c = 0; c < k; c += BATCH) {
        int32_t n = k - c < BATCH ? k - c : BATCH;
        products(p, rows, centroid + (size_t)c * (size_t)p->dim, n, out);
        for (int32_t j = 0; j < n; j++) {
            float half = half_square(centroid + (size_t)(c + j) * (size_t)p->dim, p->dim);
            for (int32_t i = 0; i < rows->n; i++) {
                if (out[j * TILE + i] - half > best[i]) {
                    best[i] = out[j * TILE + i] - half;
                    nearest[i] = (uint16_t)(c + j);
                }
            }
        }
    }
}

int64_t vattn_kmeans_assign(const struct vattn_points * p, const float * centroid, int32_t k, uint16_t * code) {
    int64_t changed = 0;
    for (int64_t begin = 0; begin < p->rows.n; begin += TILE) {
        const struct vattn_rows rows = part(p, begin, (int32_t)(p->rows.n - begin < TILE ? p->rows.n - begin : TILE));
        uint16_t nearest[TILE];
        assign_tile(p, &rows, centroid, k, nearest);
        for (int32_t i = 0; i < rows.n; i++) {
            changed += code[begin + i] != nearest[i];
            code[begin + i] = nearest[i];
        }
    }
    return changed;
}

/* ---------------------------------------------------------------------------------------------------------- means */

struct clusters {
    uint16_t * code; /* [n] */
    int32_t * order; /* [n] to draw the first centroids from */
    int64_t * count; /* [k] */
    double * sum;    /* [k][dim] */
};

static void add(const struct vattn_points * p, struct clusters * c, int64_t i, double sign) {
    float x[VATTN_MAX_DIM];
    double * sum = c->sum + (size_t)c->code[i] * (size_t)p->dim;
    point(p, i, x);
    for (int32_t d = 0; d < p->dim; d++) {
        sum[d] += sign * (double)x[d];
    }
    c->count[c->code[i]] += sign > 0.0 ? 1 : -1;
}

/* The point farthest from its centroid, among those that do not sit on it alone; -1 if none is off its centroid. */
static int64_t farthest(const struct vattn_points * p, const struct clusters * c, const float * centroid) {
    int64_t best = -1;
    double worst = 0.0;
    for (int64_t i = 0; i < p->rows.n; i++) {
        const float * at = centroid + (size_t)c->code[i] * (size_t)p->dim;
        float x[VATTN_MAX_DIM];
        double square = 0.0;
        point(p, i, x);
        for (int32_t d = 0; d < p->dim; d++) {
            square += ((double)x[d] - (double)at[d]) * ((double)x[d] - (double)at[d]);
        }
        if (square > worst && c->count[c->code[i]] > 1) {
            worst = square;
            best = i;
        }
    }
    return best;
}

static void move(const struct vattn_points * p, struct clusters * c, int32_t k, float * centroid) {
    memset(c->sum, 0, (size_t)k * (size_t)p->dim * sizeof *c->sum);
    memset(c->count, 0, (size_t)k * sizeof *c->count);
    for (int64_t i = 0; i < p->rows.n; i++) {
        add(p, c, i, 1.0);
    }
    for (int32_t j = 0; j < k; j++) {
        int64_t i = c->count[j] == 0 ? farthest(p, c, centroid) : -1;
        if (i >= 0) {
            add(p, c, i, -1.0);
            c->code[i] = (uint16_t)j;
            add(p, c, i, 1.0);
            point(p, i, centroid + (size_t)j * (size_t)p->dim); /* not the farthest any more */
        }
    }
    for (int32_t j = 0; j < k; j++) {
        for (int32_t d = 0; d < p->dim && c->count[j] > 0; d++) {
            size_t at = (size_t)j * (size_t)p->dim + (size_t)d;
            centroid[at] = (float)(c->sum[at] / (double)c->count[j]);
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- start */

/* The beginning of a Fisher-Yates shuffle. */
static void draw(const struct vattn_points * p, int32_t k, uint64_t seed, const uint32_t stream[2], int32_t * order,
                 float * centroid) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int32_t i = 0; i < p->rows.n; i++) {
        order[i] = i;
    }
    for (int32_t j = 0; j < k; j++) {
        const uint32_t counter[4] = {(uint32_t)j, stream[0], stream[1],
                                     vattn_random_stream(VATTN_RANDOM_CALIBRATE, 0, 2)};
        uint32_t word[4];
        vattn_philox4x32(counter, key, word);
        int32_t other = j + (int32_t)((uint64_t)word[0] * (uint64_t)(p->rows.n - j) >> 32), row = order[other];
        order[other] = order[j];
        order[j] = row;
        point(p, row, centroid + (size_t)j * (size_t)p->dim);
    }
}

bool vattn_kmeans(const struct vattn_points * p, int32_t k, int32_t steps, uint64_t seed, const uint32_t stream[2],
                  float * centroid) {
    size_t n = (size_t)p->rows.n;
    struct clusters c = {.code = calloc(n, sizeof *c.code),
                         .order = malloc(n * sizeof *c.order),
                         .count = malloc((size_t)k * sizeof *c.count),
                         .sum = malloc((size_t)k * (size_t)p->dim * sizeof *c.sum)};
    bool all = c.code != NULL && c.order != NULL && c.count != NULL && c.sum != NULL;
    if (all) {
        draw(p, k, seed, stream, c.order, centroid);
        for (int32_t step = 0; step < steps; step++) {
            if (vattn_kmeans_assign(p, centroid, k, c.code) == 0 && step > 0) {
                break;
            }
            move(p, &c, k, centroid);
        }
    }
    free(c.code);
    free(c.order);
    free(c.count);
    free(c.sum);
    return all;
}
