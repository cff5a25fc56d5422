/* SPDX-License-Identifier: MIT
 *
 * Time of every kernel of every tier: ns per row (or token or value), GB/s, and the time as a multiple of streaming the
 * same bytes, cold (buffers far larger than the caches) and warm (a tile that stays in L2).
 *
 *     kernel_bench [tier or "all"] [kernel or "all"] [repetitions] [cold or warm] [f32, f16, bf16 or q8_0]
 *
 * Fastest and median of the repetitions; streaming is measured in turn with them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/half.h"
#include "kernels/kernels.h"

enum { COLD_BYTES = 192 << 20, MAX_REPS = 1001, TILE = 128, MAX_HEADS = 8, MAX_N = 1 << 20 };

static char * cold;    /* rows or codes */
static float * scores; /* MAX_HEADS x MAX_N */
static int32_t *picked, *prob, *drawn;
static float *query, *acc, *center;
static int32_t * kinds; /* of a gather: which of 256 centres */
static char * center_rows;
static int32_t reps = 9;
static const char * only_kernel = "all";
static const char * only_place = "all";
static enum vattn_type type = VATTN_TYPE_F16;
static volatile uint64_t sink;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* neighbours on a busy machine do not count */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t rng = 88172645463325252u;

static uint32_t draw(void) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 32);
}

static void * map(size_t bytes) {
    void * p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

static int by_value(const void * a, const void * b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Add up 64-bit words: what reading costs at least. */
static void stream(const char * from, size_t bytes) {
    uint64_t sum[8] = {0};
    for (size_t i = 0; i + 64 <= bytes; i += 64) {
        uint64_t word[8];
        __builtin_prefetch(from + i + 4096);
        memcpy(word, from + i, 64);
        for (int32_t k = 0; k < 8; k++) {
            sum[k] += word[k];
        }
    }
    sink = sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}

struct job {
    const struct vattn_kernels * kernels;
    const char * kernel;
    int32_t n, n_heads, dim; /* rows or tokens in all, per call TILE (dense) or n (sparse) */
    size_t stride;
    bool gather, warm, in_turn; /* in_turn: 8 heads side by side, a tile of each after the other */
    struct vattn_code_layout layout;
};

enum { GATHER = 384 };

static void run(const struct job * job) {
    const struct vattn_kernels * k = job->kernels;
    const bool score = strcmp(job->kernel, "score") == 0;
    const bool distance = strcmp(job->kernel, "distance") == 0;
    if (strcmp(job->kernel, "scan") == 0) {
        struct vattn_query_code q[MAX_HEADS];
        for (int32_t g = 0; g < job->n_heads; g++) {
            q[g] = (struct vattn_query_code){(const int8_t *)cold + 1000 * g, 1, 0.01f, 0.02f, 0.03f};
        }
        const int32_t step = 256; /* blocks per call: scores stay in L2 */
        const size_t block = 16 * vattn_layout_token_bytes(job->layout);
        for (int32_t b = 0; b < job->n / 16; b += step) {
            k->scan((uint8_t *)cold + (job->warm ? 0 : block * (size_t)b), step, job->layout, q, job->n_heads, scores,
                    16 * step);
        }
        return;
    }
    if (strcmp(job->kernel, "select") == 0) {
        const float threshold[MAX_HEADS] = {0};
        const struct vattn_random_key key = {{1, 2}, {3, 4}, 5};
        const int32_t step = 256;
        for (int32_t b = 0; b < job->n / 16; b += step) {
            sink = (uint64_t)k->select(scores, 16 * step, threshold, job->n_heads, 16 * (int64_t)b, step, NULL, NULL,
                                       NULL, 2000, &key, picked, prob, drawn);
        }
        return;
    }
    if (strcmp(job->kernel, "thin") == 0) {
        const float threshold[MAX_HEADS] = {0};
        int32_t kept, tail, keep[1024 + 16];
        for (int32_t j = 0; j < job->n; j += 1024) {
            for (int32_t i = 0; i < 1024; i++) {
                prob[i] = 1 << 22;
                drawn[i] = (i * 7919) & ((1 << 22) - 1);
            }
            kept =
                k->thin(scores, 1024, threshold, job->n_heads, 1024, (const int8_t *)cold, 4, prob, drawn, keep, &tail);
            sink = (uint64_t)(kept + tail);
        }
        return;
    }
    if (strcmp(job->kernel, "exp2_sum") == 0 || strcmp(job->kernel, "max") == 0) {
        float sum = 0;
        for (int32_t j = 0; j < job->n; j += 1024) {
            if (job->kernel[0] == 'm') {
                sum += k->max(scores, 1024);
            } else {
                sum += k->exp2_sum(scores, 1024, 1);
            }
        }
        sink = (uint64_t)sum;
        return;
    }
    const bool offset = strcmp(job->kernel, "offset") == 0;
    const int32_t step = job->gather || distance || offset ? GATHER : TILE;
    for (int32_t j = 0; j < job->n; j += step) {
        struct vattn_rows rows = {
            .base = cold, .stride = job->stride, .index = job->gather ? picked + j : NULL, .n = step};
        if (!job->gather && !job->warm) {
            rows.base = cold + job->stride * (size_t)j;
        }
        if (job->in_turn) { /* n counts the rows of all heads */
            rows.base = cold + job->stride * (size_t)(j / (8 * TILE) * TILE) +
                        (size_t)(j / TILE % 8) * vattn_row_bytes(type, job->dim);
        }
        if (score) {
            k->score[type](&rows, query, job->n_heads, job->dim, scores, step);
        } else if (offset) {
            const struct vattn_rows centers = {
                .base = center_rows, .stride = vattn_row_bytes(type, job->dim), .index = kinds, .n = step};
            k->offset[type](&rows, &centers, job->dim, scores, NULL, 0);
        } else if (distance) {
            k->distance[type](&rows, center, job->n_heads, job->dim, scores + 16384, step);
        } else {
            k->accumulate[type](&rows, scores, step, job->n_heads, job->dim, acc);
        }
    }
}

static void report(const struct job * job, const char * shape, double bytes_per_item) {
    const bool wanted = strcmp(only_place, "all") == 0 || strcmp(only_place, job->warm ? "warm" : "cold") == 0;
    if (!wanted || (strcmp(only_kernel, "all") != 0 && strcmp(only_kernel, job->kernel) != 0)) {
        return;
    }
    double time[MAX_REPS], floor[MAX_REPS];
    const double bytes = bytes_per_item * job->n;
    run(job);
    for (int32_t r = 0; r < reps; r++) {
        double t = now();
        run(job);
        time[r] = now() - t;
        if (job->warm) { /* a tile in the caches has nothing to do with the speed of memory */
            floor[r] = 0;
            continue;
        }
        t = now();
        stream(cold + ((size_t)r % 2) * (64 << 20), 64 << 20);
        floor[r] = (now() - t) / (64 << 20);
    }
    qsort(time, (size_t)reps, sizeof *time, by_value);
    qsort(floor, (size_t)reps, sizeof *floor, by_value);
    printf("%-8s %-10s %-36s %-4s ns %8.3f median %8.3f", job->kernels->name, job->kernel, shape,
           job->warm ? "warm" : "cold", 1e9 * time[0] / job->n, 1e9 * time[reps / 2] / job->n);
    if (bytes > 0) {
        printf("  GB/s %6.2f", 1e-9 * bytes / time[0]);
    }
    if (bytes > 0 && !job->warm) {
        printf("  x streaming %5.2f median %5.2f", time[0] / (bytes * floor[0]),
               time[reps / 2] / (bytes * floor[reps / 2]));
    }
    printf("\n");
}

static void bench(const struct vattn_kernels * kernels) {
    static const int32_t heads[] = {1, 3, 4, 7, 8};
    char text[80];
    for (int32_t d = 128; d >= 64; d -= 64) {
        const char * const names[] = {"score", "accumulate", "distance", "offset"};
        for (int32_t op = 0; op < 4; op++) {
            for (int32_t h = 0; h < (op == 3 ? 1 : 5); h++) {
                for (int32_t mode = 0; mode < 5; mode++) {
                    /* warm tile; contiguous rows; rows of 8 heads side by side; a gather of 3 %; all 8 heads */
                    const size_t stride = vattn_row_bytes(type, d) * (mode >= 2 ? 8 : 1);
                    const int32_t n_all = (int32_t)((COLD_BYTES / 2) / stride) / TILE * TILE;
                    struct job job = {
                        kernels,   names[op], mode == 0 ? GATHER * 4 : n_all, heads[h], d, stride, mode == 3, mode == 0,
                        mode == 4, {0, 0, 0}};
                    job.n = mode == 4 ? n_all * 8 : job.n;
                    if (mode == 3) {
                        int32_t n = 0;
                        for (int32_t j = 0; j < n_all; j++) {
                            if (draw() % 32 == 0) {
                                picked[n++] = j;
                            }
                        }
                        job.n = n / GATHER * GATHER;
                    } else if (op >= 2 && mode != 0) {
                        continue;
                    }
                    snprintf(text, sizeof text, "dim %d heads %d %s", d, heads[h],
                             mode == 4   ? "in turn"
                             : mode == 3 ? "gather"
                             : mode == 2 ? "strided"
                                         : "contiguous");
                    report(&job, text, (double)vattn_row_bytes(type, d));
                }
            }
        }
    }
    static const struct vattn_code_layout layouts[] = {{0, 16, 32}, {4, 8, 32},  {8, 16, 32}, {4, 24, 64},
                                                       {16, 16, 0}, {0, 0, 128}, {32, 0, 0}};
    for (int32_t l = 0; l < (int32_t)(sizeof layouts / sizeof layouts[0]); l++) {
        for (int32_t h = 0; h < 5; h++) {
            for (int32_t warm = 0; warm < 2; warm++) {
                const struct job job = {kernels, "scan", 1 << 20, heads[h], 0, 0, false, warm, false, layouts[l]};
                snprintf(text, sizeof text, "heads %d layout %d %d %d", heads[h], layouts[l].n8, layouts[l].n4,
                         layouts[l].n2);
                report(&job, text, (double)vattn_layout_token_bytes(layouts[l]));
            }
        }
    }
    for (int32_t h = 0; h < 5; h++) {
        for (int32_t j = 0; j < MAX_N; j++) {
            scores[j] = -7 * fabsf(scores[j]) - 4;
            scores[j] = -4 - (float)(draw() % 1000) / 60;
        }
        const struct job job = {kernels, "select", 1 << 20, heads[h], 0, 0, false, true, false, {0, 0, 0}};
        snprintf(text, sizeof text, "heads %d", heads[h]);
        report(&job, text, 0);
        const struct job thin = {kernels, "thin", 1 << 20, heads[h], 0, 0, false, true, false, {0, 0, 0}};
        report(&thin, text, 0);
    }
    const struct job exp2_sum = {kernels, "exp2_sum", 1 << 20, 0, 0, 0, false, true, false, {0, 0, 0}};
    const struct job max = {kernels, "max", 1 << 20, 0, 0, 0, false, true, false, {0, 0, 0}};
    report(&exp2_sum, "1024 values", 0);
    report(&max, "1024 values", 0);
}

int main(int argc, char ** argv) {
    const char * tier = argc > 1 ? argv[1] : "all";
    only_kernel = argc > 2 ? argv[2] : "all";
    reps = argc > 3 ? atoi(argv[3]) : reps;
    only_place = argc > 4 ? argv[4] : "all";
    static const char * const types[VATTN_TYPE_COUNT] = {"f32", "f16", "bf16", "q8_0"};
    for (int32_t t = 0; argc > 5 && t < VATTN_TYPE_COUNT; t++) {
        type = strcmp(argv[5], types[t]) == 0 ? (enum vattn_type)t : type;
    }
    reps = reps < 1 ? 1 : reps > MAX_REPS ? MAX_REPS : reps;
    cold = map(COLD_BYTES + (1 << 20));
    scores = map((size_t)MAX_HEADS * MAX_N * sizeof *scores);
    picked = map((MAX_N + 16) * sizeof *picked);
    drawn = map((MAX_N + 16) * sizeof *drawn);
    prob = map((MAX_N + 16) * sizeof *prob);
    query = map(MAX_HEADS * VATTN_MAX_DIM * sizeof *query);
    acc = map(MAX_HEADS * VATTN_MAX_DIM * sizeof *acc);
    center = map(MAX_HEADS * VATTN_MAX_DIM * sizeof *center);
    kinds = map(GATHER * sizeof *kinds);
    center_rows = map(256 * 4 * VATTN_MAX_DIM);
    for (size_t i = 0; i < COLD_BYTES / 2; i++) {
        const uint16_t half = vattn_half_from_float((float)(draw() >> 8) * 0x1p-23f - 1);
        memcpy(cold + 2 * i, &half, sizeof half);
    }
    for (int32_t j = 0; j < MAX_HEADS * MAX_N; j++) {
        scores[j] = (float)(draw() >> 8) * 0x1p-24f;
    }
    for (int32_t i = 0; i < MAX_HEADS * VATTN_MAX_DIM; i++) {
        query[i] = (float)(draw() >> 8) * 0x1p-24f - 0.5f;
    }
    for (int32_t j = 0; j < GATHER; j++) {
        kinds[j] = (int32_t)(draw() % 256);
    }
    const struct vattn_kernels * table;
    for (int32_t i = 0; (table = vattn_kernels_supported(i)) != NULL; i++) {
        if (strcmp(tier, "all") == 0 || strcmp(tier, table->name) == 0) {
            bench(table);
        }
    }
    return 0;
}
