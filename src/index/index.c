/* SPDX-License-Identifier: MIT
 *
 * Life cycle of the index: create, calibrate, validate, free.
 */
#include "index/index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"

#define CALIBRATION_ROWS  4096
#define CALIBRATION_LEAST 64
#define LIFT_MOST 3.0 /* octaves that kinds are credited with at most */
#define OUTLIER2          (1.75F * 1.75F) /* squared residual, in units of its mean, of a key that no code can stand for */

static size_t token_bytes(const struct vattn_plan * plan) {
    size_t bytes = (size_t)(plan->opt.code_bits * plan->opt.head_dim / 8.0 + 0.5);
    return bytes < 4 ? 4 : bytes;
}

static size_t book_floats(const struct vattn_options * o) {
    size_t d = (size_t)o->head_dim;
    return 4 * d + (size_t)o->v_dim;
}

static bool strict(const struct vattn_plan * plan) {
    return plan->opt.method == VATTN_METHOD_SPARSE_STRICT;
}

/* Bytes of the basis and of the inverse. */
static size_t matrix_bytes(const struct vattn_plan * plan) {
    size_t d = (size_t)plan->opt.head_dim;
    return d * d * (strict(plan) ? sizeof(float) : sizeof(uint16_t));
}

static int64_t round_up(int64_t rows) {
    return (rows + 63) / 64 * 64;
}

/* Bytes of the kinds of one KV head. */
static size_t kinds_bytes(const struct vattn_plan * plan, int64_t rows) {
    struct vattn_kinds k = vattn_kinds_shape(&plan->opt, rows);
    return (size_t)rows * (k.packed ? 1 : 2) + sizeof k + vattn_kinds_bytes(&k);
}

size_t vattn_index_bytes(const struct vattn_plan * plan, int64_t capacity) {
    size_t heads = (size_t)plan->opt.n_kv_heads, rows = (size_t)round_up(capacity);
    return sizeof(struct vattn_index) + heads * sizeof(struct vattn_code_book) +
           heads * (book_floats(&plan->opt) * sizeof(float) + 2 * matrix_bytes(plan)) +
           heads * rows * (token_bytes(plan) + 1) + (1 + heads) * rows / 8 +
           (strict(plan) ? heads * rows * 3 + heads * rows / 64 * sizeof(float)
                         : heads * kinds_bytes(plan, (int64_t)rows));
}

static void point_books(struct vattn_index * x) {
    int32_t d = x->plan->opt.head_dim;
    for (int32_t g = 0; g < x->plan->opt.n_kv_heads; g++) {
        struct vattn_code_book * b = &x->books[g];
        b->halves = !strict(x->plan);
        b->basis = x->matrices + 2 * (size_t)g * matrix_bytes(x->plan);
        b->inverse = (char *)b->basis + matrix_bytes(x->plan);
        b->shift = x->tables + (size_t)g * book_floats(&x->plan->opt);
        b->mean = b->shift + d;
        b->step = b->mean + d;
        b->error_var = b->step + d;
        b->v_mean = b->error_var + d;
    }
}

static bool take_kinds(struct vattn_index * x) {
    size_t heads = (size_t)x->plan->opt.n_kv_heads;
    struct vattn_kinds shape = vattn_kinds_shape(&x->plan->opt, x->capacity);
    size_t bytes = vattn_kinds_bytes(&shape);
    x->kinds = calloc(heads, sizeof *x->kinds);
    x->kind_tables = calloc(heads, bytes);
    x->kind = vattn_pages_alloc(heads * (size_t)x->capacity, sizeof *x->kind);
    x->off = shape.packed ? NULL : vattn_pages_alloc(heads * (size_t)x->capacity, sizeof *x->off);
    if (x->kinds == NULL || x->kind_tables == NULL || x->kind == NULL || (x->off == NULL && !shape.packed)) {
        return false;
    }
    for (size_t g = 0; g < heads; g++) {
        x->kinds[g] = shape;
        vattn_kinds_point(&x->kinds[g], x->kind_tables + g * bytes);
    }
    return true;
}

enum vattn_status vattn_index_create(const struct vattn_plan * plan, int64_t capacity, struct vattn_index ** index) {
    if (index == NULL) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    *index = NULL;
    if (plan == NULL || capacity < 1 || capacity > INT32_MAX - 63) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    struct vattn_index * x = calloc(1, sizeof *x);
    if (x == NULL) {
        return VATTN_STATUS_NO_MEMORY;
    }
    size_t heads = (size_t)plan->opt.n_kv_heads;
    x->plan = plan;
    x->capacity = round_up(capacity);
    x->token_bytes = token_bytes(plan);
    x->books = calloc(heads, sizeof *x->books);
    x->tables = calloc(heads * book_floats(&plan->opt), sizeof(float));
    x->matrices = calloc(2 * heads, matrix_bytes(plan));
    x->codes = vattn_pages_alloc(heads * (size_t)x->capacity, x->token_bytes);
    x->bonus = vattn_pages_alloc(heads * (size_t)x->capacity, sizeof *x->bonus);
    x->covered = calloc((size_t)(x->capacity / 64), sizeof(uint64_t));
    x->escape = calloc(heads * (size_t)(x->capacity / 64), sizeof(uint64_t));
    bool ok = x->books != NULL && x->tables != NULL && x->matrices != NULL && x->codes != NULL && x->bonus != NULL &&
              x->covered != NULL && x->escape != NULL;
    if (strict(plan)) {
        x->reach = vattn_pages_alloc(heads * (size_t)x->capacity, 3);
        x->key_norm = calloc(heads * (size_t)(x->capacity / 64), sizeof *x->key_norm);
        ok = ok && x->reach != NULL && x->key_norm != NULL;
    } else {
        ok = take_kinds(x) && ok;
    }
    if (!ok) {
        vattn_index_free(x);
        return VATTN_STATUS_NO_MEMORY;
    }
    point_books(x);
    *index = x;
    return VATTN_STATUS_OK;
}

void vattn_index_free(struct vattn_index * x) {
    if (x != NULL) {
        free(x->books);
        free(x->tables);
        free(x->matrices);
        free(x->codes);
        free(x->bonus);
        free(x->kinds);
        free(x->kind_tables);
        free(x->kind);
        free(x->off);
        free(x->covered);
        free(x->escape);
        free(x->reach);
        free(x->key_norm);
        free(x);
    }
}

bool vattn_index_calibrated(const struct vattn_index * x) {
    return x != NULL && x->calibrated;
}

/* ------------------------------------------------------------------------------------------------------- calibrate */

/* Up to CALIBRATION_ROWS visible rows, evenly spread. */
static int32_t sample_rows(const struct vattn_kv * kv, int64_t n_visible, int32_t * list) {
    int64_t stride = (n_visible + CALIBRATION_ROWS - 1) / CALIBRATION_ROWS, seen = 0;
    int32_t n = 0;
    for (int64_t w = 0; w < vattn_words(kv->n_keys); w++) {
        for (uint64_t word = vattn_word(kv->visible, w, kv->n_keys); word != 0; word &= word - 1) {
            if (seen++ % stride == 0) {
                list[n++] = (int32_t)(w * 64 + vattn_lowest(word));
            }
        }
    }
    return n;
}

/* scratch[a][b] = sum_i x[i][a] x[i][b] */
static void products(const struct vattn_plan * plan, const float * x, int32_t n, float * scratch) {
    enum { PART = 32 };
    int32_t d = plan->opt.head_dim;
    float turned[VATTN_MAX_DIM * PART];
    memset(scratch, 0, (size_t)d * (size_t)d * sizeof *scratch);
    for (int32_t i = 0; i < n; i += PART) {
        int32_t m = n - i < PART ? n - i : PART;
        const float * part = x + (size_t)i * (size_t)d;
        for (int32_t a = 0; a < d; a++) {
            for (int32_t j = 0; j < m; j++) {
                turned[a * PART + j] = part[(size_t)j * (size_t)d + (size_t)a];
            }
        }
        struct vattn_rows rows = {.base = part, .stride = (size_t)d * sizeof *x, .n = m};
        plan->kern->accumulate[VATTN_TYPE_F32](&rows, turned, PART, d, d, scratch);
    }
}

/* Mean and covariance of the listed keys.  x: [n][d], becomes the keys less their mean; scratch: [d][d] */
static bool moments(const struct vattn_plan * plan, const struct vattn_rows * rows, const int32_t * list, int32_t n,
                    float * x, float * scratch, double * mean, double * cov) {
    int32_t d = plan->opt.head_dim;
    memset(mean, 0, (size_t)d * sizeof *mean);
    for (int32_t i = 0; i < n; i++) {
        struct vattn_rows key = {.base = rows->base, .stride = rows->stride, .index = &list[i], .n = 1};
        vattn_plan_key(plan, &key, x + (size_t)i * (size_t)d);
        for (int32_t a = 0; a < d; a++) {
            mean[a] += (double)x[(size_t)i * (size_t)d + (size_t)a] / n;
        }
    }
    for (int32_t i = 0; i < n; i++) {
        for (int32_t a = 0; a < d; a++) {
            x[(size_t)i * (size_t)d + (size_t)a] -= (float)mean[a];
        }
    }
    products(plan, x, n, scratch);
    bool finite = true;
    for (int32_t a = 0; a < d; a++) {
        for (int32_t b = 0; b <= a; b++) {
            double c = (double)scratch[(size_t)a * (size_t)d + (size_t)b] / n;
            cov[a * d + b] = cov[b * d + a] = c;
            finite = finite && isfinite(c);
        }
    }
    return finite;
}

static int compare_floats(const void * a, const void * b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The residual that `escape` of the calibration rows exceed, but never more than an outlier's. */
static void set_escape(struct vattn_index * x, int32_t g, const float * keys, int32_t n, float * wide, float * residual2) {
    vattn_index_residuals(x->plan->kern, &x->books[g], x->plan->opt.head_dim, keys, n, wide, residual2);
    qsort(residual2, (size_t)n, sizeof *residual2, compare_floats);
    int32_t at = (int32_t)((1.0 - x->plan->opt.escape) * n);
    double mean = 0.0;
    for (int32_t i = 0; i < n; i++) {
        mean += (double)residual2[i] / n;
    }
    x->books[g].escape_above = fminf(residual2[at < n ? at : n - 1], OUTLIER2 * (float)mean);
}

struct calibration {
    int32_t * list;
    float *x, *scratch, *residual2;
    double *mean, *cov;
};

static bool value_moments(struct vattn_index * x, const struct vattn_kv * kv, int32_t g, const struct calibration * c,
                          int32_t n) {
    struct vattn_code_book * book = &x->books[g];
    double sum = 0.0;
    struct vattn_rows v = vattn_v_rows(kv, g);
    v.index = c->list;
    v.n = n;
    for (int32_t i = 0; i < n; i++) { /* residual2 has done its work: here, the weights of a mean */
        c->residual2[i] = 1.0F / (float)n;
    }
    memset(book->v_mean, 0, (size_t)x->plan->opt.v_dim * sizeof *book->v_mean);
    vattn_plan_accumulate(x->plan, &v, c->residual2, n, 1, book->v_mean);
    for (int32_t i = 0; i < n; i += 64) {
        float dist2[64];
        struct vattn_rows part = {.index = c->list + i, .n = n - i < 64 ? n - i : 64};
        vattn_index_distance(x, kv, g, &part, dist2);
        for (int32_t j = 0; j < part.n; j++) {
            sum += (double)dist2[j] / n;
        }
    }
    book->v_rms = (float)sqrt(sum);
    book->v_rms = book->v_rms > 0.0F ? book->v_rms : 1e-20F; /* all values equal: nothing depends on it */
    return isfinite(sum);
}

static enum vattn_status value_kinds(struct vattn_index * x, const struct vattn_kv * kv, int32_t g, int32_t * list,
                                     int32_t n) {
    struct vattn_code_book * book = &x->books[g];
    book->lift = 0.0F;
    if (x->kinds == NULL) {
        return VATTN_STATUS_OK;
    }
    struct vattn_rows v = vattn_v_rows(kv, g);
    double off2;
    v.index = list;
    v.n = n;
    enum vattn_status status = vattn_kinds_learn(x->plan, &x->kinds[g], &v, book->v_mean, &off2);
    double lift = off2 > 0.0 ? 0.5 * log2((double)book->v_rms * (double)book->v_rms / off2) : LIFT_MOST;
    book->lift = (float)fmin(fmax(lift, 0.0), LIFT_MOST);
    return status;
}

static bool calibration_allocate(struct calibration * c, int32_t d) {
    size_t m = (size_t)d * (size_t)d;
    c->list = malloc(CALIBRATION_ROWS * sizeof *c->list);
    c->x = calloc(CALIBRATION_ROWS * (size_t)d, sizeof *c->x);
    c->scratch = malloc(m * sizeof *c->scratch);
    c->residual2 = malloc(CALIBRATION_ROWS * sizeof *c->residual2);
    c->mean = malloc((size_t)d * sizeof *c->mean);
    c->cov = malloc(m * sizeof *c->cov);
    return c->list != NULL && c->x != NULL && c->scratch != NULL && c->residual2 != NULL &&
           c->mean != NULL && c->cov != NULL;
}

static void calibration_free(struct calibration * c) {
    free(c->list);
    free(c->x);
    free(c->scratch);
    free(c->residual2);
    free(c->mean);
    free(c->cov);
}

static enum vattn_status calibrate_head(struct vattn_index * x, const struct vattn_kv * kv, int32_t g,
                                        const float * moment, struct calibration * c, int32_t n) {
    int32_t d = x->plan->opt.head_dim;
    struct vattn_rows rows = vattn_k_rows(kv, g);
    if (!moments(x->plan, &rows, c->list, n, c->x, c->scratch, c->mean, c->cov)) {
        return VATTN_STATUS_NOT_FINITE;
    }
    enum vattn_status status =
        vattn_code_book_build(&x->books[g], d, x->token_bytes, c->mean, c->cov, moment, (double)x->plan->q_scale);
    if (status == VATTN_STATUS_OK) {
        vattn_code_book_fit_steps(x->plan->kern, &x->books[g], d, c->x, n);
        vattn_code_book_floor_errors(&x->books[g], d);
        set_escape(x, g, c->x, n, c->scratch, c->residual2);
        status = value_moments(x, kv, g, c, n) ? VATTN_STATUS_OK : VATTN_STATUS_NOT_FINITE;
    }
    if (status == VATTN_STATUS_OK) {
        status = value_kinds(x, kv, g, c->list, n);
    }
    return status;
}

enum vattn_status vattn_index_calibrate_begin(struct vattn_index * x, const struct vattn_kv * kv) {
    if (x == NULL || kv == NULL || kv->k == NULL || kv->n_keys > x->capacity) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    x->calibrated = false;
    for (int32_t g = 0; g < x->plan->opt.n_kv_heads; g++) {
        x->books[g].fitted = false;
    }
    memset(x->covered, 0, (size_t)(x->capacity / 64) * sizeof(uint64_t));
    if (x->key_norm != NULL) {
        memset(x->key_norm, 0, (size_t)x->plan->opt.n_kv_heads * (size_t)(x->capacity / 64) * sizeof *x->key_norm);
    }
    return vattn_count(kv->visible, kv->n_keys) < CALIBRATION_LEAST ? VATTN_STATUS_INVALID_ARGUMENT : VATTN_STATUS_OK;
}

enum vattn_status vattn_index_calibrate_head(struct vattn_index * x, const struct vattn_kv * kv, const float * q_second_moment,
                                             int32_t g) {
    if (x == NULL || kv == NULL || g < 0 || g >= x->plan->opt.n_kv_heads) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    size_t d = (size_t)x->plan->opt.head_dim;
    struct calibration c = {0};
    enum vattn_status status = VATTN_STATUS_NO_MEMORY;
    if (calibration_allocate(&c, (int32_t)d)) {
        int32_t n = sample_rows(kv, vattn_count(kv->visible, kv->n_keys), c.list);
        status = calibrate_head(x, kv, g, q_second_moment == NULL ? NULL : q_second_moment + (size_t)g * d * d, &c, n);
    }
    calibration_free(&c);
    x->books[g].fitted = status == VATTN_STATUS_OK;
    return status;
}

enum vattn_status vattn_index_calibrate_end(struct vattn_index * x) {
    if (x == NULL) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    x->calibrated = true;
    for (int32_t g = 0; g < x->plan->opt.n_kv_heads; g++) {
        x->calibrated = x->calibrated && x->books[g].fitted;
    }
    return x->calibrated ? VATTN_STATUS_OK : VATTN_STATUS_NOT_CALIBRATED;
}

enum vattn_status vattn_index_calibrate(struct vattn_index * x, const struct vattn_kv * kv, const float * q_second_moment) {
    enum vattn_status status = vattn_index_calibrate_begin(x, kv);
    for (int32_t g = 0; status == VATTN_STATUS_OK && g < x->plan->opt.n_kv_heads; g++) {
        status = vattn_index_calibrate_head(x, kv, q_second_moment, g);
    }
    return status == VATTN_STATUS_OK ? vattn_index_calibrate_end(x) : status;
}

/* -------------------------------------------------------------------------------------------------------- validate */

static bool fail(const char * why, const char ** reason) {
    if (reason != NULL) {
        *reason = why;
    }
    return false;
}

static bool book_valid(const struct vattn_index * x, int32_t g, const char ** reason) {
    const struct vattn_code_book * b = &x->books[g];
    struct vattn_code_layout l = b->layout;
    int32_t d = x->plan->opt.head_dim;
    if (l.n8 % 4 != 0 || l.n4 % 8 != 0 || l.n2 % 16 != 0 || vattn_layout_coords(l) > d ||
        vattn_layout_token_bytes(l) > x->token_bytes) {
        return fail("code layout: widths do not fit the block format or the budget", reason);
    }
    for (int32_t a = 0; a < vattn_layout_coords(l); a++) {
        if (!(b->step[a] > 0.0F) || !isfinite(b->step[a])) {
            return fail("code book: a step is not positive", reason);
        }
    }
    size_t floats = book_floats(&x->plan->opt);
    for (size_t i = 0; i < floats; i++) {
        if (!isfinite(x->tables[(size_t)g * floats + i])) {
            return fail("code book: a table holds a value that is not finite", reason);
        }
    }
    for (int32_t a = 0; a < 2 * d; a++) {
        float row[VATTN_MAX_DIM];
        vattn_book_row(b, a < d ? b->basis : b->inverse, d, a % d, row);
        for (int32_t i = 0; i < d; i++) {
            if (!isfinite(row[i])) {
                return fail("code book: a matrix holds a value that is not finite", reason);
            }
        }
    }
    return true;
}

static bool kinds_valid(const struct vattn_index * x, int32_t g, const char ** reason) {
    const char * why = "";
    if (x->kinds == NULL) {
        return true;
    }
    if (!vattn_kinds_valid(x->plan, &x->kinds[g], &why)) {
        return fail(why, reason);
    }
    for (int64_t r = 0; r < x->capacity; r++) {
        if (vattn_index_kind(x, g, r) >= x->kinds[g].branches * x->kinds[g].leaves) {
            return fail("kinds: a row has a kind that does not exist", reason);
        }
    }
    return true;
}

bool vattn_index_validate(const struct vattn_index * x, const struct vattn_kv * kv, const char ** reason) {
    if (x == NULL || x->capacity < 64 || x->capacity % 64 != 0) {
        return fail("index: missing or of a capacity that is not a multiple of 64", reason);
    }
    if (!x->calibrated) {
        return vattn_index_covered(x, 0, x->capacity) == 0 || fail("coverage: rows covered without a code", reason);
    }
    for (int32_t g = 0; g < x->plan->opt.n_kv_heads; g++) {
        if (!book_valid(x, g, reason) || !kinds_valid(x, g, reason)) {
            return false;
        }
    }
    for (int64_t r = 0; kv != NULL && r < x->capacity; r++) {
        if (vattn_bit(x->covered, r) && r >= kv->n_keys) {
            return fail("coverage: a row beyond the cache is covered", reason);
        }
        if (vattn_bit(x->covered, r) && !vattn_index_row_current(x, kv, r)) {
            return fail("codes: a row differs from what the live cache encodes to", reason);
        }
        if (vattn_bit(x->covered, r) && !vattn_index_kind_current(x, kv, r)) {
            return fail("kinds: a row's value is not of the kind that the index says, or not as far from it", reason);
        }
    }
    return true;
}
