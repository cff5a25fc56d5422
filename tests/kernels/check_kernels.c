/* SPDX-License-Identifier: MIT
 *
 * Every buffer ends (or begins) at an inaccessible page, outputs lie between canaries, inputs are heavy-tailed, tiny,
 * alternating or with infinities, and error budgets are counted in roundings and scaled by the conditioning
 * (the sum of magnitudes), so a kernel may be inexact but not wrong.
 */
#include "check_kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/half.h"
#include "kernels/ref/ref.h"

/* ------------------------------------------------------------------------------------------------------- memory */

struct guarded {
    char * map;
    size_t map_bytes;
    void * at;
};

/* bytes of memory that end at a guard page, or begin after one. */
static struct guarded guarded_new(size_t bytes, bool at_end) {
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

static void guarded_free(struct guarded g) {
    munmap(g.map, g.map_bytes);
}

static void * allocate(size_t bytes) {
    void * p = calloc(bytes + 1, 1);
    if (p == NULL) {
        perror("calloc");
        exit(1);
    }
    return p;
}

/* ------------------------------------------------------------------------------------------------------- inputs */

static uint32_t draw(struct check * check) {
    check->rng = check->rng * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = check->rng;
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    return (uint32_t)x;
}

static int32_t draw_below(struct check * check, int32_t n) {
    return (int32_t)(draw(check) % (uint32_t)n);
}

static float draw_uniform(struct check * check) {
    return (float)(draw(check) >> 8) * 0x1p-24f;
}

enum kind { KIND_NORMAL, KIND_CAUCHY, KIND_TINY, KIND_ALTERNATING, N_KINDS };

static float draw_value(struct check * check, enum kind kind) {
    const float u = draw_uniform(check) - 0.5f;
    switch (kind) {
    case KIND_CAUCHY: {
        const float x = tanf(3.1415926f * u);
        return x > 60000 ? 60000 : x < -60000 ? -60000 : x;
    }
    case KIND_TINY: /* around the smallest halves, and floats below 2^-126 */
        return u * (draw(check) & 1 ? 1e-6f : 1e-39f);
    case KIND_ALTERNATING: /* sums cancel */
        return (draw(check) & 1 ? 1000.0f : -1000.0f) + u;
    default:
        return 3 * (u + draw_uniform(check) + draw_uniform(check) - 1);
    }
}

static const float canary = -12345.678f;

static void fill(float * x, size_t n, float value) {
    for (size_t i = 0; i < n; i++) {
        x[i] = value;
    }
}

static void fail(struct check * check, const char * kernel, const char * detail, double got, double expected) {
    if (check->n_failures++ < 20 && !check->quiet) {
        printf("FAIL %s %s: %s: got %.9g, expected %.9g\n", check->kernels->name, kernel, detail, got, expected);
    }
}

/* ------------------------------------------------------------------------------------------------------- shapes */

/* One case: rows of dim elements, contiguous or gathered. */
struct shape {
    int32_t n, n_heads, dim;
    enum vattn_type type;
    bool gather, at_end;
    ptrdiff_t ld;
    enum kind kind;
    size_t stride;
    char text[160];
};

static const int32_t row_counts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 33, 64, 100};
static const int32_t head_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 33};
static const int32_t dims[] = {1,  2,  7,  8,  9,   15,  16,  17,  24,  31,  32,  33,  40,  48,  63,  64,
                               65, 72, 80, 96, 100, 112, 120, 128, 129, 160, 192, 256, 320, 512, 575, 576};

#define COUNT(array)       ((int32_t)(sizeof(array) / sizeof((array)[0])))
#define PICK(check, array) (array)[draw_below(check, COUNT(array))]

static struct shape draw_shape(struct check * check, int32_t trial) {
    struct shape s;
    memset(&s, 0, sizeof s);
    s.n = PICK(check, row_counts);
    s.n_heads = PICK(check, head_counts);
    s.dim = trial < COUNT(dims) ? dims[trial] : PICK(check, dims);
    if (trial % 3 == 0) { /* the shapes that matter */
        s.dim = draw(check) & 1 ? 128 : 64;
        s.n_heads = 1 + draw_below(check, 8);
        s.n = 1 + draw_below(check, 70);
    }
    s.type = (enum vattn_type)draw_below(check, VATTN_TYPE_COUNT);
    if (vattn_row_bytes(s.type, s.dim) == 0) { /* q8_0 in blocks of 32 */
        s.dim = (s.dim + 31) / 32 * 32;
    }
    s.gather = draw(check) & 1;
    s.at_end = draw(check) & 1;
    s.ld = s.n + draw_below(check, 9);
    s.kind = (enum kind)draw_below(check, N_KINDS);
    s.stride = vattn_row_bytes(s.type, s.dim);
    s.stride += draw(check) & 1 ? 0 : 2 * (size_t)draw_below(check, 80);
    s.stride += draw(check) & 3 ? 0 : 1; /* odd: unaligned elements */
    static const char * const types[] = {"f32", "f16", "bf16", "q8_0"};
    snprintf(s.text, sizeof s.text, "n %d heads %d dim %d %s %s ld %td stride %zu kind %d", s.n, s.n_heads, s.dim,
             types[s.type], s.gather ? "gather" : "dense", s.ld, s.stride, (int)s.kind);
    return s;
}

/* Memory with rows to read; a gather draws from a few more rows than it uses. */
struct row_memory {
    struct guarded memory, index_memory;
    struct vattn_rows rows;
};

static struct row_memory draw_rows(struct check * check, const struct shape * s) {
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
            x[d] = draw_value(check, s->kind);
        }
        vattn_row_write(s->type, x, s->dim, (char *)m.memory.at + s->stride * (size_t)j);
    }
    m.index_memory = guarded_new((size_t)s->n * sizeof(int32_t), s->at_end);
    int32_t * index = m.index_memory.at;
    for (int32_t j = 0; j < s->n; j++) {
        index[j] = draw_below(check, n_memory);
    }
    if (s->gather && s->n > 0) {
        index[s->n - 1] = n_memory - 1;
    }
    m.rows =
        (struct vattn_rows){.base = m.memory.at, .stride = s->stride, .index = s->gather ? index : NULL, .n = s->n};
    return m;
}

static void row_memory_free(struct row_memory * m) {
    guarded_free(m->memory);
    guarded_free(m->index_memory);
}

static struct guarded draw_floats(struct check * check, size_t n, enum kind kind, bool at_end) {
    struct guarded g = guarded_new(n * sizeof(float), at_end);
    float * x = g.at;
    for (size_t i = 0; i < n; i++) {
        x[i] = draw_value(check, kind);
    }
    return g;
}

static size_t matrix_size(const struct shape * s) {
    return s->n == 0 ? 0 : (size_t)s->ld * (size_t)(s->n_heads - 1) + (size_t)s->n;
}

/* |got - expected| <= roundings * 2^-24 * magnitude, plus one smallest denormal per term. */
static bool close_enough(double got, double expected, double roundings, double magnitude, double terms) {
    const double budget = roundings * 0x1p-24 * magnitude + (terms + 1) * 0x1p-149;
    return fabs(got - expected) <= budget;
}

/* Compares a matrix of n_heads x n in rows of ld; what lies between must be canaries. */
static void compare(struct check * check, const char * kernel, const struct shape * s, const float * got,
                    const double * expected, const double * magnitude, double roundings, double terms) {
    char text[240];
    for (int32_t g = 0; g < s->n_heads; g++) {
        for (ptrdiff_t j = 0; j < (g + 1 < s->n_heads ? s->ld : s->n); j++) {
            const ptrdiff_t i = g * s->ld + j;
            const bool fine =
                j < s->n ? close_enough((double)got[i], expected[i], roundings, magnitude[i], terms) : got[i] == canary;
            if (!fine) {
                snprintf(text, sizeof text, "%s, head %d row %td", s->text, g, j);
                fail(check, kernel, text, (double)got[i], j < s->n ? expected[i] : (double)canary);
                return;
            }
        }
    }
}

static int32_t n_trials(const struct check * check, int32_t n) {
    return check->short_run ? n / 10 : n;
}

/* ------------------------------------------------------------------------------------------------------- checks */

void check_score(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 1500); trial++, check->n_checks++) {
        struct shape s = draw_shape(check, trial);
        struct row_memory m = draw_rows(check, &s);
        const size_t size = (size_t)s.ld * (size_t)s.n_heads;
        struct guarded q =
            draw_floats(check, (size_t)s.n_heads * (size_t)s.dim, trial % 2 ? KIND_NORMAL : KIND_CAUCHY, s.at_end);
        struct guarded out = guarded_new(matrix_size(&s) * sizeof(float), s.at_end);
        double * expected = allocate(size * sizeof(double));
        double * magnitude = allocate(size * sizeof(double));
        if (s.n > 0) {
            fill(out.at, matrix_size(&s), canary);
        }
        vattn_ref_score(&m.rows, s.type, q.at, s.n_heads, s.dim, expected, magnitude, s.ld);
        check->kernels->score[s.type](&m.rows, q.at, s.n_heads, s.dim, out.at, s.ld);
        if (s.n > 0) {
            compare(check, "score", &s, out.at, expected, magnitude, s.dim / 8.0 + 8, s.dim);
        }
        free(expected);
        free(magnitude);
        guarded_free(q);
        guarded_free(out);
        row_memory_free(&m);
    }
}

void check_accumulate(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 1500); trial++, check->n_checks++) {
        struct shape s = draw_shape(check, trial);
        struct row_memory m = draw_rows(check, &s);
        struct guarded weight = draw_floats(check, matrix_size(&s), trial % 2 ? KIND_NORMAL : KIND_CAUCHY, s.at_end);
        const size_t size = (size_t)s.n_heads * (size_t)s.dim;
        struct guarded acc = draw_floats(check, size, KIND_NORMAL, s.at_end);
        double * expected = allocate(size * sizeof(double));
        double * magnitude = allocate(size * sizeof(double));
        for (size_t i = 0; i < size; i++) {
            expected[i] = (double)((float *)acc.at)[i];
            magnitude[i] = fabs(expected[i]);
        }
        vattn_ref_accumulate(&m.rows, s.type, weight.at, s.ld, s.n_heads, s.dim, expected, magnitude);
        check->kernels->accumulate[s.type](&m.rows, weight.at, s.ld, s.n_heads, s.dim, acc.at);
        struct shape by_dim = s;
        by_dim.n = s.dim;
        by_dim.ld = s.dim;
        compare(check, "accumulate", &by_dim, acc.at, expected, magnitude, s.n + 2, s.n);
        free(expected);
        free(magnitude);
        guarded_free(weight);
        guarded_free(acc);
        row_memory_free(&m);
    }
}

void check_deviation(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 1000); trial++, check->n_checks++) {
        struct shape s = draw_shape(check, trial);
        const int32_t first = draw_below(check, 1000);
        struct row_memory m = draw_rows(check, &s);
        const enum kind kind = s.kind == KIND_CAUCHY ? KIND_NORMAL : s.kind;
        struct guarded center = draw_floats(check, (size_t)s.n_heads * (size_t)s.dim, kind, s.at_end);
        struct guarded root = draw_floats(check, matrix_size(&s), KIND_CAUCHY, s.at_end);
        struct guarded dist2 = guarded_new(matrix_size(&s) * sizeof(float), s.at_end);
        const size_t size = VATTN_BUCKETS * (size_t)s.n_heads * (size_t)s.dim;
        struct guarded bucket = draw_floats(check, size, KIND_NORMAL, s.at_end);
        double * expected = allocate(size * sizeof(double));
        double * magnitude = allocate(size * sizeof(double));
        double * expected2 = allocate((size_t)s.ld * (size_t)s.n_heads * sizeof(double));
        for (size_t i = 0; i < size; i++) {
            expected[i] = (double)((float *)bucket.at)[i];
            magnitude[i] = fabs(expected[i]);
        }
        if (s.n > 0) {
            fill(dist2.at, matrix_size(&s), canary);
        }
        vattn_ref_deviation(&m.rows, s.type, center.at, root.at, s.ld, s.n_heads, s.dim, first, expected2, expected,
                            magnitude);
        check->kernels->deviation[s.type](&m.rows, center.at, root.at, s.ld, s.n_heads, s.dim, first, dist2.at,
                                          bucket.at);
        if (s.n > 0) {
            compare(check, "deviation (dist2)", &s, dist2.at, expected2, expected2, s.dim / 8.0 + 12, 4.0 * s.dim);
        }
        struct shape by_dim = s;
        by_dim.n_heads = VATTN_BUCKETS * s.n_heads;
        by_dim.n = s.dim;
        by_dim.ld = s.dim;
        compare(check, "deviation (bucket)", &by_dim, bucket.at, expected, magnitude, s.n / VATTN_BUCKETS + 6, s.n);
        free(expected);
        free(magnitude);
        free(expected2);
        guarded_free(center);
        guarded_free(root);
        guarded_free(dist2);
        guarded_free(bucket);
        row_memory_free(&m);
    }
}

/* Centres are few rows of a block of their own, named by an index of their own; every other time differences are wanted. */
void check_offset(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 1000); trial++, check->n_checks++) {
        struct shape s = draw_shape(check, trial), few = s;
        struct row_memory m = draw_rows(check, &s);
        few.gather = true;
        few.kind = s.kind == KIND_CAUCHY ? KIND_NORMAL : s.kind;
        struct row_memory c = draw_rows(check, &few);
        struct shape by_dim = s, by_row = s;
        by_dim.n_heads = s.n;
        by_dim.n = s.dim;
        by_dim.ld = s.dim + draw_below(check, 3);
        by_row.n_heads = 1;
        const size_t size = s.n == 0 ? 0 : (size_t)by_dim.ld * (size_t)(s.n - 1) + (size_t)s.dim;
        struct guarded dist2 = guarded_new((size_t)s.n * sizeof(float), s.at_end);
        struct guarded out = guarded_new(size * sizeof(float), s.at_end);
        double * expected2 = allocate(((size_t)s.n + 1) * sizeof(double));
        double * expected = allocate((size + 1) * sizeof(double));
        fill(out.at, size, canary);
        vattn_ref_offset(&m.rows, &c.rows, s.type, s.dim, expected2, expected, by_dim.ld);
        check->kernels->offset[s.type](&m.rows, &c.rows, s.dim, dist2.at, trial % 2 ? out.at : NULL, by_dim.ld);
        compare(check, "offset (dist2)", &by_row, dist2.at, expected2, expected2, s.dim / 8.0 + 12, 4.0 * s.dim);
        if (trial % 2) {
            for (size_t i = 0; i < size; i++) { /* a single rounding: no difference is left */
                expected[i] = (double)(float)expected[i];
            }
            compare(check, "offset (out)", &by_dim, out.at, expected, expected, 0, 0);
        }
        free(expected2);
        free(expected);
        guarded_free(dist2);
        guarded_free(out);
        row_memory_free(&m);
        row_memory_free(&c);
    }
}

static const int32_t lengths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 1000, 4099};

void check_max(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 500); trial++, check->n_checks++) {
        const int32_t n = PICK(check, lengths);
        struct guarded x = draw_floats(check, (size_t)n, (enum kind)draw_below(check, N_KINDS), trial & 1);
        float * value = x.at;
        for (int32_t j = 0; j < n; j++) {
            if (trial % 5 == 0 && (draw(check) & 3) == 0) {
                value[j] = -INFINITY;
            } else if (trial % 7 == 0) {
                value[j] = -fabsf(value[j]) - 1; /* 0 must not come in from padding */
            } else if (trial % 11 == 0 && (draw(check) & 7) == 0) {
                value[j] = NAN;
            }
        }
        const double expected = vattn_ref_max(value, n);
        const double got = (double)check->kernels->max(value, n);
        if (got != expected) {
            char text[80];
            snprintf(text, sizeof text, "n %d trial %d", n, trial);
            fail(check, "max", text, got, expected);
        }
        guarded_free(x);
    }
}

void check_exp2_sum(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 800); trial++, check->n_checks++) {
        const int32_t n = PICK(check, lengths);
        struct guarded x = guarded_new((size_t)n * sizeof(float), trial & 1);
        float * value = x.at;
        const float span = trial % 3 == 0 ? 1.0f : trial % 3 == 1 ? 30.0f : 140.0f;
        float m = trial % 13 == 0 ? -INFINITY : 100 * (draw_uniform(check) - 0.5f);
        for (int32_t j = 0; j < n; j++) {
            value[j] = (m > -INFINITY ? m : 0) - span * draw_uniform(check);
            if (trial % 5 == 0 && (draw(check) & 7) == 0) {
                value[j] += (float)draw_below(check, 100); /* above m, too */
            }
            if (m == -INFINITY || (trial % 4 == 0 && (draw(check) & 3) == 0)) {
                value[j] = -INFINITY;
            }
        }
        const int32_t nan_at = trial % 17 == 0 && n > 0 && m > -INFINITY ? draw_below(check, n) : -1;
        if (nan_at >= 0) {
            value[nan_at] = NAN;
        }
        float * before = allocate((size_t)n * sizeof(float));
        double * expected = allocate((size_t)n * sizeof(double));
        memcpy(before, value, (size_t)n * sizeof(float));
        vattn_ref_exp2_sum(value, expected, n, m);
        const float sum = check->kernels->exp2_sum(value, n, m);
        char text[120];
        double total = 0;
        for (int32_t j = 0; j < n; j++) {
            const double y = (double)before[j] - (double)m;
            const double budget = 2e-7 + log(2) * 0x1p-24 * fabs(y);
            const double error = fabs((double)value[j] - expected[j]);
            const bool fine = j == nan_at ? isnan(value[j])
                                          : error <= budget * expected[j] || (expected[j] < 0x1p-126 && value[j] == 0);
            if (!fine) {
                snprintf(text, sizeof text, "n %d trial %d element %d, y %.9g", n, trial, j, y);
                fail(check, "exp2_sum", text, (double)value[j], expected[j]);
                break;
            }
            total += (double)value[j];
        }
        if (nan_at >= 0 ? !isnan(sum) : !close_enough((double)sum, total, n / 8.0 + 8, total, 0)) {
            snprintf(text, sizeof text, "n %d trial %d, the sum", n, trial);
            fail(check, "exp2_sum", text, (double)sum, total);
        }
        free(before);
        free(expected);
        guarded_free(x);
    }
}

void check_scan(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 1000); trial++, check->n_checks++) {
        struct vattn_code_layout layout = {4 * draw_below(check, 6), 8 * draw_below(check, 7),
                                           16 * draw_below(check, 6)};
        if (trial % 10 == 0) { /* one class alone, up to the largest */
            const int32_t class = draw_below(check, 3);
            const int32_t many = draw(check) & 1 ? VATTN_MAX_DIM : 16 * draw_below(check, 37);
            layout = (struct vattn_code_layout){class == 0 ? many : 0, class == 1 ? many : 0, class == 2 ? many : 0};
        }
        const int32_t n_coords = vattn_layout_coords(layout);
        const int32_t n_blocks = draw_below(check, 12);
        const int32_t n_heads = PICK(check, head_counts);
        const ptrdiff_t ld = VATTN_BLOCK * n_blocks + draw_below(check, 20);
        const size_t n_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout) * (size_t)n_blocks;
        const size_t n_out = n_blocks == 0 ? 0 : (size_t)(ld * (n_heads - 1) + VATTN_BLOCK * n_blocks);
        struct guarded codes = guarded_new(n_bytes, trial & 1);
        struct guarded out = guarded_new(n_out * sizeof(float), trial & 1);
        struct guarded weights = guarded_new((size_t)(n_heads * n_coords), trial & 1);
        struct vattn_query_code * query = allocate((size_t)n_heads * sizeof *query);
        float * expected = allocate(n_out * sizeof(float));
        for (size_t i = 0; i < n_bytes; i++) { /* all ones: sums as large as they get */
            ((uint8_t *)codes.at)[i] = trial % 3 == 0 ? 255 : (uint8_t)draw(check);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            int8_t * weight = (int8_t *)weights.at + g * n_coords;
            for (int32_t k = 0; k < n_coords; k++) {
                const int32_t extreme = trial % 6 == 0 || g % 2 ? 127 : -127;
                weight[k] = (int8_t)(trial % 3 == 0 ? extreme : draw_below(check, 255) - 127);
            }
            query[g] = (struct vattn_query_code){weight, draw_value(check, KIND_CAUCHY), draw_value(check, KIND_NORMAL),
                                                 draw_value(check, KIND_CAUCHY), draw_value(check, KIND_NORMAL)};
        }
        if (n_out > 0) {
            fill(out.at, n_out, canary);
            fill(expected, n_out, canary);
        }
        vattn_ref_scan(codes.at, n_blocks, layout, query, n_heads, expected, ld);
        check->kernels->scan(codes.at, n_blocks, layout, query, n_heads, out.at, ld);
        for (size_t i = 0; i < n_out; i++) {
            const float got = ((const float *)out.at)[i];
            if (vattn_float_bits(got) != vattn_float_bits(expected[i])) {
                char text[120];
                snprintf(text, sizeof text, "n8 %d n4 %d n2 %d blocks %d heads %d, element %zu", layout.n8, layout.n4,
                         layout.n2, n_blocks, n_heads, i);
                fail(check, "scan", text, (double)got, (double)expected[i]);
                break;
            }
        }
        free(query);
        free(expected);
        guarded_free(codes);
        guarded_free(out);
        guarded_free(weights);
    }
}

void check_design(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 400); trial++, check->n_checks++) {
        const int32_t n = 8 * draw_below(check, trial % 5 == 0 ? 80 : 6), n_heads = PICK(check, head_counts);
        const ptrdiff_t ld = n + draw_below(check, 20);
        const size_t size = n == 0 ? 0 : (size_t)(ld * (n_heads - 1) + n);
        const float floor = 0x1p-10f;
        struct guarded score = guarded_new(size * sizeof(float), trial & 1);
        struct guarded weight = guarded_new(size * sizeof(float), trial & 1);
        struct guarded threshold = draw_floats(check, (size_t)n_heads, KIND_NORMAL, trial & 1);
        for (size_t i = 0; i < size; i++) {
            const uint32_t chance = draw(check) % 50;
            ((float *)score.at)[i] = chance == 0 ? INFINITY : chance == 1 ? -INFINITY : 4 - 15 * draw_uniform(check);
            ((float *)weight.at)[i] = chance == 2 ? 0 : exp2f(-20 * draw_uniform(check));
        }
        float *v = allocate((size_t)n_heads * sizeof(float)), *q = allocate((size_t)n_heads * sizeof(float));
        double * expected_v = allocate((size_t)n_heads * sizeof(double));
        double * expected_q = allocate((size_t)n_heads * sizeof(double));
        vattn_ref_design(score.at, weight.at, ld, threshold.at, n_heads, n, floor, expected_v, expected_q);
        check->kernels->design(score.at, weight.at, ld, threshold.at, n_heads, n, floor, v, q);
        for (int32_t g = 0; g < n_heads; g++) {
            char text[80];
            snprintf(text, sizeof text, "trial %d n %d head %d of %d", trial, n, g, n_heads);
            /* all terms are positive: relative errors are those of single terms; L is rounded to 2^-17 and 1/pi - 1 cancels near 1 */
            if (!(fabs((double)v[g] - expected_v[g]) <= 2e-5 * expected_v[g] + 1e-5 * n)) {
                fail(check, "design (v)", text, (double)v[g], expected_v[g]);
            }
            if (!(fabs((double)q[g] - expected_q[g]) <= 6e-5 * expected_q[g] + 1e-5 * n)) {
                fail(check, "design (q)", text, (double)q[g], expected_q[g]);
            }
        }
        free(v);
        free(q);
        free(expected_v);
        free(expected_q);
        guarded_free(score);
        guarded_free(weight);
        guarded_free(threshold);
    }
}

void check_select(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 1500); trial++, check->n_checks++) {
        const int32_t n_blocks = trial % 10 == 0 ? 200 : draw_below(check, 20);
        const int32_t n = VATTN_BLOCK * n_blocks;
        const int32_t n_heads = PICK(check, head_counts);
        const ptrdiff_t ld = n + draw_below(check, 20);
        const size_t n_score = n_blocks == 0 ? 0 : (size_t)(ld * (n_heads - 1) + n);
        const int64_t first = 16 * (int64_t)(trial % 4 == 0 ? INT32_MAX / 16 - n_blocks : draw_below(check, 1 << 20));
        struct guarded score = guarded_new(n_score * sizeof(float), trial & 1);
        struct guarded threshold = draw_floats(check, (size_t)n_heads, KIND_NORMAL, trial & 1);
        struct guarded visible = guarded_new((size_t)n_blocks * 2, trial & 1);
        struct guarded sure = guarded_new((size_t)n_blocks * 2, trial & 1);
        const float depth = trial % 5 == 0 ? 1.0f : trial % 5 == 1 ? 200.0f : 25.0f;
        for (size_t i = 0; i < n_score; i++) {
            float * at = (float *)score.at + i;
            const uint32_t chance = draw(check) % 100;
            *at = 4 - depth * draw_uniform(check);
            if (chance == 0 && trial % 3 == 0) {
                *at = -INFINITY;
            } else if (chance == 1 && trial % 3 == 0) {
                *at = NAN;
            } else if (chance == 2 && trial % 3 == 0) {
                *at = INFINITY;
            } else if (chance < 6) {
                *at = (float)-draw_below(check, 30); /* at and around the corners of L */
            }
        }
        if (trial % 6 == 0) { /* corners exactly */
            fill(threshold.at, (size_t)n_heads, 0);
        }
        struct guarded bonus = guarded_new((size_t)n, trial & 1);
        for (int32_t i = 0; i < n; i++) {
            ((int8_t *)bonus.at)[i] = (int8_t)(draw(check) % 256 - 128);
        }
        const int8_t * bonus_arg = trial % 5 == 1 ? NULL : bonus.at;
        for (int32_t b = 0; b < n_blocks; b++) {
            const uint32_t some = draw(check) & draw(check) & draw(check);
            ((uint16_t *)visible.at)[b] = (uint16_t)(draw(check) % 5 == 0 ? 0 : draw(check) | draw(check));
            ((uint16_t *)sure.at)[b] = (uint16_t)(draw(check) % 5 == 0 ? 0xffff : some);
        }
        const uint16_t * visible_arg = trial % 3 == 1 ? NULL : visible.at;
        const uint16_t * sure_arg = trial % 4 == 1 ? NULL : sure.at;
        const int32_t floor = trial % 2 ? 0 : trial % 4 ? 1 << 17 : VATTN_PROB_ONE;
        const struct vattn_random_key key = {{draw(check), draw(check)}, {draw(check), draw(check)}, draw(check)};

        int32_t * expected_rows = allocate((size_t)(n + 16) * sizeof(int32_t));
        int32_t * expected_prob = allocate((size_t)(n + 16) * sizeof(int32_t));
        int32_t * expected_draw = allocate((size_t)(n + 16) * sizeof(int32_t));
        const int32_t expected =
            vattn_ref_select(score.at, ld, threshold.at, n_heads, first, n_blocks, visible_arg, sure_arg, bonus_arg,
                             floor, &key, expected_rows, expected_prob, expected_draw);
        struct guarded rows = guarded_new((size_t)(expected + 16) * sizeof(int32_t), trial & 1);
        struct guarded prob = guarded_new((size_t)(expected + 16) * sizeof(int32_t), trial & 1);
        struct guarded drawn = guarded_new((size_t)(expected + 16) * sizeof(int32_t), trial & 1);
        const int32_t got = check->kernels->select(score.at, ld, threshold.at, n_heads, first, n_blocks, visible_arg,
                                                   sure_arg, bonus_arg, floor, &key, rows.at, prob.at, drawn.at);
        char text[120];
        snprintf(text, sizeof text, "trial %d blocks %d heads %d first %lld", trial, n_blocks, n_heads,
                 (long long)first);
        if (got != expected) {
            fail(check, "select (count)", text, got, expected);
        } else if (memcmp(rows.at, expected_rows, (size_t)got * sizeof(int32_t)) != 0) {
            fail(check, "select (rows)", text, 0, 0);
        } else if (memcmp(prob.at, expected_prob, (size_t)got * sizeof(int32_t)) != 0) {
            fail(check, "select (probabilities)", text, 0, 0);
        } else if (memcmp(drawn.at, expected_draw, (size_t)got * sizeof(int32_t)) != 0) {
            fail(check, "select (draws)", text, 0, 0);
        }
        free(expected_rows);
        free(expected_prob);
        free(expected_draw);
        guarded_free(score);
        guarded_free(threshold);
        guarded_free(visible);
        guarded_free(sure);
        guarded_free(bonus);
        guarded_free(drawn);
        guarded_free(rows);
        guarded_free(prob);
    }
}

void check_thin(struct check * check) {
    for (int32_t trial = 0; trial < n_trials(check, 1500); trial++, check->n_checks++) {
        const int32_t n = trial % 10 == 0 ? 1000 + trial : draw_below(check, 70);
        const int32_t n_heads = PICK(check, head_counts), shift = draw_below(check, 6);
        const ptrdiff_t ld = n + draw_below(check, 20);
        const size_t n_score = n == 0 ? 0 : (size_t)(ld * (n_heads - 1) + n), ints = (size_t)n * sizeof(int32_t);
        struct guarded score = guarded_new(n_score * sizeof(float), trial & 1);
        struct guarded threshold = draw_floats(check, (size_t)n_heads, KIND_NORMAL, trial & 1);
        struct guarded bonus = guarded_new((size_t)n, trial & 1);
        struct guarded prob = guarded_new(ints, trial & 1), drawn = guarded_new(ints, trial & 1);
        struct guarded keep = guarded_new(ints + 64, trial & 1);
        int32_t * expected_prob = allocate(ints + 64);
        int32_t * expected_keep = allocate(ints + 64);
        for (size_t i = 0; i < n_score; i++) {
            const uint32_t chance = draw(check) % 100;
            ((float *)score.at)[i] = chance == 0 ? NAN : chance == 1 ? -INFINITY : 3 - 20 * draw_uniform(check);
        }
        for (int32_t j = 0; j < n; j++) { /* as select leaves them: drawn below prob, or always read */
            const bool always = draw(check) % 8 == 0;
            const int32_t below_one = draw(check) % 4 == 0 ? 4 : VATTN_PROB_ONE - 1; /* small: draws of 0, too */
            const int32_t p = always || draw(check) % 8 == 0 ? VATTN_PROB_ONE : 1 + draw_below(check, below_one);
            ((int8_t *)bonus.at)[j] = (int8_t)(draw(check) % 256 - 128);
            ((int32_t *)prob.at)[j] = expected_prob[j] = p;
            ((int32_t *)drawn.at)[j] = always ? -1 : draw_below(check, p);
        }
        int32_t tail = -1, expected_tail = -1;
        const int32_t expected = vattn_ref_thin(score.at, ld, threshold.at, n_heads, n, bonus.at, shift, expected_prob,
                                                drawn.at, expected_keep, &expected_tail);
        const int32_t got = check->kernels->thin(score.at, ld, threshold.at, n_heads, n, bonus.at, shift, prob.at,
                                                 drawn.at, keep.at, &tail);
        char text[120];
        snprintf(text, sizeof text, "trial %d keys %d heads %d shift %d", trial, n, n_heads, shift);
        if (got != expected || tail != expected_tail) {
            fail(check, "thin (counts)", text, got, expected);
        } else if (memcmp(prob.at, expected_prob, ints) != 0) {
            fail(check, "thin (probabilities)", text, 0, 0);
        } else if (memcmp(keep.at, expected_keep, (size_t)got * sizeof(int32_t)) != 0) {
            fail(check, "thin (positions)", text, 0, 0);
        }
        free(expected_prob);
        free(expected_keep);
        guarded_free(score);
        guarded_free(threshold);
        guarded_free(bonus);
        guarded_free(prob);
        guarded_free(drawn);
        guarded_free(keep);
    }
}

int32_t check_kernels(const struct vattn_kernels * kernels, bool short_run, bool quiet) {
    struct check check = {kernels, quiet, short_run, 20261124, 0, 0};
    check_score(&check);
    check_accumulate(&check);
    check_deviation(&check);
    check_offset(&check);
    check_max(&check);
    check_exp2_sum(&check);
    check_scan(&check);
    check_design(&check);
    check_select(&check);
    check_thin(&check);
    if (!quiet) {
        printf("%s: %d checks, %d failures\n", kernels->name, check.n_checks, check.n_failures);
    }
    return check.n_failures;
}
