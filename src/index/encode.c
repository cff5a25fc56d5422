/* SPDX-License-Identifier: MIT
 *
 * Rows of the live cache -> codes, escape list, coverage.  The transform is the score kernel with the rows of the
 * basis as queries.
 */
#include "index/index.h"

#include <math.h>
#include <string.h>

#define TILE        64
#define BONUS_LEAST (-8) /* one octave: the output may be farther from this value than the mean value is */
#define OFF_LEAST   (-40) /* five octaves: a value that its kind stands for needs no reading */

/* y -> codes, y -= what they stand for; a NaN stays one, with code 0. */
static void quantise(float * y, int32_t n, float step, int bits, uint8_t * code) {
    const float half = (float)(1 << (bits - 1)), inverse = 1.0F / step;
    for (int32_t j = 0; j < n; j++) {
        const int32_t level = vattn_code_level(y[j], inverse, half);
        code[j] = (uint8_t)level;
        y[j] -= vattn_code_value(level, step, half);
    }
}

/* Coordinate a of n rows: y -> codes; the squared error is added (NaN stays NaN: such rows are not covered). */
static void quantise_coordinate(const struct vattn_code_book * book, int32_t a, float shift, float * y, int32_t n,
                                uint8_t * code, float * residual2, float * unlikely) {
    int bits = vattn_code_bits(book->layout, a);
    float inverse = 1.0F / book->error_var[a];
    for (int32_t j = 0; j < n; j++) {
        y[j] -= shift;
    }
    if (bits > 0) {
        quantise(y, n, book->step[a], bits, code);
    }
    for (int32_t j = 0; j < n; j++) {
        residual2[j] += y[j] * y[j];
    }
    for (int32_t j = 0; j < n && unlikely != NULL; j++) {
        unlikely[j] += y[j] * y[j] * inverse;
    }
}

#define COORDINATES 32 /* at a time keep the tile small */
#define KEYS        16

/* y[i * TILE + j] = <basis_(a + i), k_j>.  A basis in f16 is the rows, and the keys, as floats, are the queries: one row is
 * appended at every decode step, and widening the basis would take longer than all the rest. */
static void transform(const struct vattn_index * x, int32_t g, const struct vattn_rows * keys, int32_t a, int32_t part, float * y) {
    const struct vattn_code_book * book = &x->books[g];
    int32_t d = x->plan->opt.head_dim;
    float wide[KEYS * VATTN_MAX_DIM], by_key[KEYS * COORDINATES];
    struct vattn_rows basis = vattn_book_rows(book, book->basis, d, a, part);
    if (!book->halves) {
        vattn_plan_score(x->plan, keys, basis.base, part, y, TILE);
        return;
    }
    for (int32_t j = 0; j < keys->n; j += KEYS) {
        int32_t n = keys->n - j < KEYS ? keys->n - j : KEYS;
        for (int32_t i = 0; i < n; i++) {
            struct vattn_rows key = {.base = (const char *)keys->base + (size_t)(j + i) * keys->stride, .stride = keys->stride, .n = 1};
            vattn_plan_key(x->plan, &key, wide + (size_t)i * (size_t)d);
        }
        x->plan->kern->score[VATTN_TYPE_F16](&basis, wide, n, d, by_key, COORDINATES);
        for (int32_t i = 0; i < n * part; i++) {
            y[i % part * TILE + j + i / part] = by_key[i / part * COORDINATES + i % part];
        }
    }
}

void vattn_index_quantise(const struct vattn_index * x, const struct vattn_kv * kv, int32_t g, int64_t row, int32_t n,
                          uint8_t * code, float * residual2, float * unlikely) {
    float y[COORDINATES * TILE];
    int32_t d = x->plan->opt.head_dim;
    const struct vattn_code_book * book = &x->books[g];
    struct vattn_rows rows = vattn_k_rows(kv, g);
    rows.base = (const char *)rows.base + (size_t)row * rows.stride;
    rows.n = n;
    for (int32_t j = 0; j < n; j++) {
        residual2[j] = 0.0F;
        if (unlikely != NULL) {
            unlikely[j] = 0.0F;
        }
    }
    for (int32_t a = 0; a < d; a += COORDINATES) {
        int32_t part = d - a < COORDINATES ? d - a : COORDINATES;
        transform(x, g, &rows, a, part, y);
        for (int32_t i = 0; i < part; i++) {
            quantise_coordinate(book, a + i, book->shift[a + i], y + i * TILE, n, code + (size_t)(a + i) * TILE, residual2,
                                unlikely);
        }
    }
}

void vattn_index_residuals(const struct vattn_kernels * kern, const struct vattn_code_book * book, int32_t d, const float * x,
                           int32_t n, float * wide, float * residual2) {
    float y[TILE];
    uint8_t code[TILE];
    memset(residual2, 0, (size_t)n * sizeof *residual2);
    for (int32_t a = 0; a < d; a++) {
        vattn_book_row(book, book->basis, d, a, wide + (size_t)a * (size_t)d);
    }
    for (int32_t i = 0; i < n; i += TILE) {
        struct vattn_rows rows = {.base = x + (size_t)i * (size_t)d, .stride = (size_t)d * sizeof *x};
        rows.n = n - i < TILE ? n - i : TILE;
        for (int32_t a = 0; a < d; a++) {
            kern->score[VATTN_TYPE_F32](&rows, wide + (size_t)a * (size_t)d, 1, d, y, TILE);
            quantise_coordinate(book, a, 0.0F, y, rows.n, code, residual2 + i, NULL);
        }
    }
}

static void store(struct vattn_index * x, int32_t g, int64_t row, int32_t n, const uint8_t * code) {
    struct vattn_code_layout l = x->books[g].layout;
    size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(l);
    uint8_t * base = x->codes + (size_t)g * (size_t)x->capacity * x->token_bytes;
    for (int32_t a = 0; a < vattn_layout_coords(l); a++) {
        size_t byte;
        int shift, bits = vattn_code_bits(l, a);
        vattn_code_place(l, a, &byte, &shift);
        uint8_t keep = (uint8_t)~(((1U << bits) - 1U) << shift);
        for (int32_t j = 0; j < n; j++) {
            size_t r = (size_t)(row + j);
            uint8_t * at = base + r / VATTN_BLOCK * block_bytes + r % VATTN_BLOCK * 4 + byte;
            *at = (uint8_t)((*at & keep) | (code[(size_t)a * TILE + (size_t)j] << shift));
        }
    }
}

void vattn_index_distance(const struct vattn_index * x, const struct vattn_kv * kv, int32_t g,
                          const struct vattn_rows * rows, float * dist2) {
    struct vattn_rows v = vattn_v_rows(kv, g);
    v.index = rows->index;
    v.n = rows->n;
    vattn_plan_distance(x->plan, &v, x->books[g].v_mean, 1, dist2, TILE);
}

/* 8 log2(sqrt(dist2 / rms2)), at least `least` */
static int8_t eighths_of(float dist2, float rms2, int least) {
    float eighths = 4.0F * log2f(dist2 / rms2);
    return (int8_t)(eighths < (float)least || !isfinite(eighths) ? least
                    : eighths > INT8_MAX                          ? INT8_MAX
                                                                  : lrintf(eighths));
}

/* Values far from the mean weigh more in the error: their keys are drawn more often. */
static void store_bonus(struct vattn_index * x, const struct vattn_kv * kv, int32_t g, int64_t row, int32_t n,
                        float * residual2, float * dist2) {
    int32_t list[TILE];
    struct vattn_rows rows = {.index = list, .n = n};
    for (int32_t j = 0; j < n; j++) {
        list[j] = (int32_t)(row + j);
    }
    vattn_index_distance(x, kv, g, &rows, dist2);
    int8_t * bonus = x->bonus + (size_t)g * (size_t)x->capacity + row;
    float rms2 = x->books[g].v_rms * x->books[g].v_rms;
    for (int32_t j = 0; j < n; j++) {
        bonus[j] = eighths_of(dist2[j], rms2, BONUS_LEAST);
        if (!isfinite(dist2[j])) {
            residual2[j] = NAN; /* not covered */
        }
    }
}

/* The kind of the value of one row, and how far from its mean it is: values far from it are drawn more often. */
static int32_t kind_of(const struct vattn_index * x, const struct vattn_kv * kv, int32_t g, int64_t row, int * off) {
    const struct vattn_kinds * kinds = &x->kinds[g];
    int32_t r = (int32_t)row, kind;
    float rms2 = x->books[g].v_rms * x->books[g].v_rms, v[VATTN_MAX_DIM], dist2;
    struct vattn_rows value = vattn_v_rows(kv, g), mean = {.base = kinds->mean, .stride = kinds->row_bytes, .index = &kind, .n = 1};
    value.index = &r;
    value.n = 1;
    vattn_plan_value(x->plan, &value, v);
    kind = vattn_kinds_find(x->plan, kinds, v);
    vattn_plan_offset(x->plan, &value, &mean, &dist2, NULL);
    *off = eighths_of(dist2, rms2, OFF_LEAST);
    return kind;
}

/* Half octaves from the bonus down to off, rounded: what fits into three bits. */
static int below(int bonus, int off) {
    int halves = (bonus - off + 2) >> 2;
    return halves < 0 ? 0 : halves > 7 ? 7 : halves;
}

static void store_kinds(struct vattn_index * x, const struct vattn_kv * kv, int32_t g, int64_t row, int32_t n) {
    size_t at = (size_t)g * (size_t)x->capacity + (size_t)row;
    for (int32_t j = 0; j < n; j++, at++) {
        int off;
        int32_t kind = kind_of(x, kv, g, row + j, &off);
        if (x->off != NULL) {
            x->off[at] = (int8_t)off;
        } else {
            kind |= below(x->bonus[at], off) * VATTN_PACKED_KINDS;
        }
        x->kind[at] = (uint8_t)kind;
    }
}

bool vattn_index_kind_current(const struct vattn_index * x, const struct vattn_kv * kv, int64_t row) {
    for (int32_t g = 0; x->kinds != NULL && g < x->plan->opt.n_kv_heads; g++) {
        int off, bonus = vattn_index_bonus(x, g)[row], kept = vattn_index_off(x, g, row);
        if (kind_of(x, kv, g, row, &off) != vattn_index_kind(x, g, row) ||
            kept != (x->off != NULL ? off : bonus - 4 * below(bonus, off))) {
            return false;
        }
    }
    return true;
}

static void mark_escapes(struct vattn_index * x, int32_t g, int64_t row, int32_t n, const float * residual2,
                         const float * unlikely) {
    uint64_t * set = x->escape + (size_t)g * (size_t)(x->capacity / 64);
    float most = VATTN_ESCAPE_UNLIKELY * (float)x->plan->opt.head_dim;
    for (int32_t j = 0; j < n; j++) {
        if (residual2[j] > x->books[g].escape_above || unlikely[j] > most) {
            vattn_bit_set(set, row + j);
        } else {
            vattn_bit_clear(set, row + j);
        }
    }
}

/* What strict mode must know about these rows; a row that it cannot bound gets NaN for its residual. */
static void store_reach(struct vattn_index * x, const struct vattn_kv * kv, int32_t g, int64_t row, int32_t n,
                        float * residual2, const float * unlikely, const float * dist2) {
    float origin[VATTN_MAX_DIM] = {0}, norm2[TILE];
    struct vattn_rows k = vattn_k_rows(kv, g);
    k.base = (const char *)k.base + (size_t)row * k.stride;
    k.n = n;
    x->plan->kern->distance[x->plan->opt.k_type](&k, origin, 1, x->plan->opt.head_dim, norm2, TILE);
    float * most = x->key_norm + (size_t)g * (size_t)(x->capacity / 64) + row / 64;
    *most = row % 64 == 0 && n == TILE ? 0.0F : *most;
    for (int32_t j = 0; j < n; j++) {
        if (!isfinite(residual2[j]) || !isfinite(norm2[j])) {
            residual2[j] = NAN;
            continue;
        }
        *most = fmaxf(*most, sqrtf(norm2[j]) * 1.0001F);
        if (!vattn_reach_store(x, g, row + j, residual2[j], unlikely[j], dist2[j])) {
            residual2[j] = NAN;
        }
    }
}

static void encode_tile(struct vattn_index * x, const struct vattn_kv * kv, int64_t row, int32_t n) {
    uint8_t code[VATTN_MAX_DIM * TILE];
    float residual2[TILE], unlikely[TILE], dist2[TILE];
    uint64_t bad = 0;
    for (int32_t g = 0; g < x->plan->opt.n_kv_heads; g++) {
        vattn_index_quantise(x, kv, g, row, n, code, residual2, unlikely);
        store(x, g, row, n, code);
        store_bonus(x, kv, g, row, n, residual2, dist2);
        mark_escapes(x, g, row, n, residual2, unlikely);
        if (x->kinds != NULL) {
            store_kinds(x, kv, g, row, n);
        }
        if (x->reach != NULL) {
            store_reach(x, kv, g, row, n, residual2, unlikely, dist2);
        }
        for (int32_t j = 0; j < n; j++) {
            bad |= isfinite(residual2[j]) ? 0 : (uint64_t)1 << j;
        }
    }
    for (int32_t j = 0; j < n; j++) {
        if ((bad >> j & 1U) != 0) {
            vattn_bit_clear(x->covered, row + j);
        } else {
            vattn_bit_set(x->covered, row + j);
        }
    }
}

static bool range_fits(const struct vattn_index * x, int64_t begin, int64_t end) {
    return begin >= 0 && begin <= end && end <= x->capacity;
}

enum vattn_status vattn_index_encode(struct vattn_index * x, const struct vattn_kv * kv, int64_t begin, int64_t end) {
    if (x == NULL || kv == NULL || !range_fits(x, begin, end) || end > kv->n_keys) {
        return VATTN_STATUS_INVALID_ARGUMENT;
    }
    if (!x->calibrated) {
        return VATTN_STATUS_NOT_CALIBRATED;
    }
    for (int64_t r = begin; r < end;) { /* tiles end at multiples of 64 */
        int64_t stop = (r / TILE + 1) * TILE;
        stop = stop < end ? stop : end;
        encode_tile(x, kv, r, (int32_t)(stop - r));
        r = stop;
    }
    return VATTN_STATUS_OK;
}

void vattn_index_forget(struct vattn_index * x, int64_t begin, int64_t end) {
    for (int64_t r = begin < 0 ? 0 : begin; r < end && r < x->capacity; r++) {
        vattn_bit_clear(x->covered, r);
    }
}

int64_t vattn_index_covered(const struct vattn_index * x, int64_t begin, int64_t end) {
    int64_t n = 0;
    for (int64_t r = begin < 0 ? 0 : begin; r < end && r < x->capacity; r++) {
        n += vattn_bit(x->covered, r) ? 1 : 0;
    }
    return n;
}

static int stored(const struct vattn_index * x, int32_t g, int64_t row, int32_t a) {
    struct vattn_code_layout l = x->books[g].layout;
    size_t byte;
    int shift;
    vattn_code_place(l, a, &byte, &shift);
    const uint8_t * block = vattn_index_block(x, g, row);
    return block[(size_t)(row % VATTN_BLOCK) * 4 + byte] >> shift & ((1 << vattn_code_bits(l, a)) - 1);
}

/* One level of difference is rounding: the sums of a kernel may depend on how many rows it was given. */
bool vattn_index_row_current(const struct vattn_index * x, const struct vattn_kv * kv, int64_t row) {
    uint8_t code[VATTN_MAX_DIM * TILE];
    float residual2[TILE];
    if (!x->calibrated || row < 0 || row >= x->capacity || row >= kv->n_keys || !vattn_bit(x->covered, row)) {
        return false;
    }
    for (int32_t g = 0; g < x->plan->opt.n_kv_heads; g++) {
        vattn_index_quantise(x, kv, g, row, 1, code, residual2, NULL);
        if (!isfinite(residual2[0])) {
            return false;
        }
        for (int32_t a = 0; a < vattn_layout_coords(x->books[g].layout); a++) {
            int difference = stored(x, g, row, a) - code[(size_t)a * TILE];
            if (difference > 1 || difference < -1) {
                return false;
            }
        }
    }
    return true;
}
