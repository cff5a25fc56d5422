/* SPDX-License-Identifier: MIT */
#include "check_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------------- memory */

/* bytes of memory that end at a guard page, or begin after one. */
struct guarded guarded_new(size_t bytes, bool at_end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = (bytes + page - 1) / page * page + page;
    struct guarded g = {NULL, inner + 2 * page, NULL};
    void * map = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    g.map = map;
    if (mprotect(g.map, page, PROT_NONE) != 0 || mprotect(g.map + page + inner, page, PROT_NONE) != 0) {
        perror("mprotect");
        exit(1);
    }
    g.at = at_end ? g.map + page + inner - bytes : g.map + page;
    return g;
}

void guarded_free(struct guarded g) {
    munmap(g.map, g.map_bytes);
}

void * case_allocate(size_t bytes) {
    void * p = calloc(bytes + 1, 1);
    if (p == NULL) {
        perror("calloc");
        exit(1);
    }
    return p;
}

/* ------------------------------------------------------------------------------------------------------- inputs */

uint32_t case_draw(struct check * check) {
    check->rng = check->rng * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = check->rng;
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    return (uint32_t)x;
}

int32_t case_draw_below(struct check * check, int32_t n) {
    return (int32_t)(case_draw(check) % (uint32_t)n);
}

float case_draw_uniform(struct check * check) {
    return (float)(case_draw(check) >> 8) * 0x1p-24f;
}

float case_draw_value(struct check * check, enum kind kind) {
    const float u = case_draw_uniform(check) - 0.5f;
    switch (kind) {
    case KIND_CAUCHY: {
        const float x = tanf(3.1415926f * u);
        return x > 60000 ? 60000 : x < -60000 ? -60000 : x;
    }
    case KIND_TINY: /* around the smallest halves, and floats below 2^-126 */
        return u * (case_draw(check) & 1 ? 1e-6f : 1e-39f);
    case KIND_ALTERNATING: /* sums cancel */
        return (case_draw(check) & 1 ? 1000.0f : -1000.0f) + u;
    default:
        return 3 * (u + case_draw_uniform(check) + case_draw_uniform(check) - 1);
    }
}

void case_fill(float * x, size_t n, float value) {
    for (size_t i = 0; i < n; i++) {
        x[i] = value;
    }
}

void case_fail(struct check * check, const char * kernel, const char * detail, double got, double expected) {
    if (check->n_failures++ < 20 && !check->quiet) {
        printf("FAIL %s %s: %s: got %.9g, expected %.9g\n", check->kernels->name, kernel, detail, got, expected);
    }
}

/* ------------------------------------------------------------------------------------------------------- shapes */

static const int32_t row_counts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 33, 64, 100};
const int32_t case_head_counts[13] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 33};
static const int32_t dims[] = {1,  2,  7,  8,  9,   15,  16,  17,  24,  31,  32,  33,  40,  48,  63,  64,
                               65, 72, 80, 96, 100, 112, 120, 128, 129, 160, 192, 256, 320, 512, 575, 576};

struct shape case_draw_shape(struct check * check, int32_t trial) {
    struct shape s;
    memset(&s, 0, sizeof s);
    s.n = PICK(check, row_counts);
    s.n_heads = PICK(check, case_head_counts);
    s.dim = trial < COUNT(dims) ? dims[trial] : PICK(check, dims);
    if (trial % 3 == 0) { /* the shapes that matter */
        s.dim = case_draw(check) & 1 ? 128 : 64;
        s.n_heads = 1 + case_draw_below(check, 8);
        s.n = 1 + case_draw_below(check, 70);
    }
    s.type = (enum vattn_type)case_draw_below(check, VATTN_TYPE_COUNT);
    if (vattn_row_bytes(s.type, s.dim) == 0) { /* q8_0 in blocks of 32 */
        s.dim = (s.dim + 31) / 32 * 32;
    }
    s.gather = case_draw(check) & 1;
    s.at_end = case_draw(check) & 1;
    s.ld = s.n + case_draw_below(check, 9);
    s.kind = (enum kind)case_draw_below(check, N_KINDS);
    s.stride = vattn_row_bytes(s.type, s.dim);
    s.stride += case_draw(check) & 1 ? 0 : 2 * (size_t)case_draw_below(check, 80);
    s.stride += case_draw(check) & 3 ? 0 : 1; /* odd: unaligned elements */
    static const char * const types[] = {"f32", "f16", "bf16", "q8_0"};
    snprintf(s.text, sizeof s.text, "n %d heads %d dim %d %s %s ld %td stride %zu kind %d", s.n, s.n_heads, s.dim,
             types[s.type], s.gather ? "gather" : "dense", s.ld, s.stride, (int)s.kind);
    return s;
}

struct row_memory case_draw_rows(struct check * check, const struct shape * s) {
    struct row_memory m;
    memset(&m, 0, sizeof m);
    const int32_t n_memory = s->gather ? s->n + 20 : s->n;
    const size_t row_bytes = vattn_row_bytes(s->type, s->dim);
    const size_t bytes = n_memory == 0 ? 0 : s->stride * (size_t)(n_memory - 1) + row_bytes;
    float x[VATTN_MAX_DIM];
    m.memory = guarded_new(bytes, s->at_end);
    memset(m.memory.at, 0xff, bytes); /* NaN between the rows */
    for (int32_t j = 0; j < n_memory; j++) {
        for (int32_t d = 0; d < s->dim; d++) {
            x[d] = case_draw_value(check, s->kind);
        }
        char * row = (char *)m.memory.at + s->stride * (size_t)j;
        vattn_row_write(s->type, x, s->dim, row);
        for (int32_t d = 0; s->type == VATTN_TYPE_Q8_0 && d < s->dim / 8; d++) { /* -128, too, which nobody writes */
            const int32_t i = case_draw_below(check, s->dim);
            row[i / 32 * 34 + 2 + i % 32] = (char)(case_draw(check) % 256);
        }
    }
    m.index_memory = guarded_new((size_t)s->n * sizeof(int32_t), s->at_end);
    int32_t * index = m.index_memory.at;
    for (int32_t j = 0; j < s->n; j++) {
        index[j] = case_draw_below(check, n_memory);
    }
    if (s->gather && s->n > 0) {
        index[s->n - 1] = n_memory - 1;
    }
    m.rows =
        (struct vattn_rows){.base = m.memory.at, .stride = s->stride, .index = s->gather ? index : NULL, .n = s->n};
    return m;
}

void row_memory_free(struct row_memory * m) {
    guarded_free(m->memory);
    guarded_free(m->index_memory);
}

struct guarded case_draw_floats(struct check * check, size_t n, enum kind kind, bool at_end) {
    struct guarded g = guarded_new(n * sizeof(float), at_end);
    float * x = g.at;
    for (size_t i = 0; i < n; i++) {
        x[i] = case_draw_value(check, kind);
    }
    return g;
}

size_t case_matrix_size(const struct shape * s) {
    return s->n == 0 ? 0 : (size_t)s->ld * (size_t)(s->n_heads - 1) + (size_t)s->n;
}

/* |got - expected| <= roundings * 2^-24 * magnitude, plus one smallest denormal per term. */
bool case_close_enough(double got, double expected, double roundings, double magnitude, double terms) {
    const double budget = roundings * 0x1p-24 * magnitude + (terms + 1) * 0x1p-149;
    return fabs(got - expected) <= budget;
}

/* Compares a matrix of n_heads x n in rows of ld; what lies between must be canaries. */
void case_compare(struct check * check, const char * kernel, const struct shape * s, const float * got,
                  const double * expected, const double * magnitude, double roundings, double terms) {
    char text[240];
    for (int32_t g = 0; g < s->n_heads; g++) {
        for (ptrdiff_t j = 0; j < (g + 1 < s->n_heads ? s->ld : s->n); j++) {
            const ptrdiff_t i = g * s->ld + j;
            const bool fine = j < s->n ? case_close_enough((double)got[i], expected[i], roundings, magnitude[i], terms)
                                       : got[i] == CASE_CANARY;
            if (!fine) {
                snprintf(text, sizeof text, "%s, head %d row %td", s->text, g, j);
                case_fail(check, kernel, text, (double)got[i], j < s->n ? expected[i] : (double)CASE_CANARY);
                return;
            }
        }
    }
}

int32_t case_trials(const struct check * check, int32_t n) {
    return check->short_run ? n / 10 : n;
}
