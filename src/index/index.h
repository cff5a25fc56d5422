/* SPDX-License-Identifier: MIT
 *
 * The KV index of one layer (see README.md of this folder).
 */
#ifndef VATTN_INDEX_H
#define VATTN_INDEX_H

#include "base/bits.h"
#include "plan/plan.h"

/* The code of one KV head. d = head_dim; coordinates are sorted by falling eigenvalue. */
struct vattn_code_book {
    struct vattn_code_layout layout;
    bool halves;        /* basis and inverse: f16, else f32 (strict plans, whose bounds are about these very numbers) */
    bool fitted;        /* by the last calibration, or the one under way */
    void * basis;       /* [d][d] row a: y_a = <basis_a, k> - shift_a */
    void * inverse;     /* [d][d] row a: weight of y_a in <q, k> is <inverse_a, q> */
    float * shift;      /* [d] <basis_a, mean> */
    float * mean;       /* [d] */
    float * step;       /* [coordinates with bits] */
    float * error_var;  /* [d] expected squared quantisation error of y_a (lambda_a where it has no bits); none is less
                         * than a hundredth of their mean */
    float * v_mean;     /* [v_dim] mean value row c */
    float v_rms;        /* root mean square of ||v - c|| */
    float lift;         /* log2 of v_rms over the root mean square of ||v - mean of its kind||; 0 without kinds */
    float escape_above; /* squared residual ||y - y^||^2 above which a key is on the escape list */
    float sigma2_usual; /* expected squared score error of a calibration query, log2 units */
};

/* Rows [from, from + n) of the basis or of the inverse. */
static inline struct vattn_rows vattn_book_rows(const struct vattn_code_book * b, const void * matrix, int32_t d,
                                                int32_t from, int32_t n) {
    size_t row = (size_t)d * (b->halves ? 2 : 4);
    return (struct vattn_rows){.base = (const char *)matrix + (size_t)from * row, .stride = row, .n = n};
}

/* Row a of the basis or of the inverse as floats. */
void vattn_book_row(const struct vattn_code_book * book, const void * matrix, int32_t d, int32_t a, float * out);

#define VATTN_MOST_KINDS   256
#define VATTN_PACKED_KINDS 32 /* in a packed byte: kind in the lower five bits, half octaves below the bonus above them */

/* Kinds of the values of one KV head (kinds.c): kind b * leaves + i is leaf i of branch b. */
struct vattn_kinds {
    int32_t branches, leaves;
    bool packed;                /* kind and off in one byte: small capacities */
    size_t row_bytes;
    char *branch, *mean;        /* rows of the type of the values: [branches], [branches * leaves] */
    float *branch_half, *half;  /* half of their squared lengths */
};

struct vattn_index {
    const struct vattn_plan * plan;
    int64_t capacity;    /* multiple of 64 */
    bool calibrated;
    size_t token_bytes;  /* budget of one token and KV head */
    struct vattn_code_book * books; /* [n_kv_heads] */
    float * tables;      /* what the books point into: vectors */
    char * matrices;     /* the same: basis and inverse */
    uint8_t * codes;     /* [n_kv_heads][capacity * token_bytes] in blocks of 16 tokens */
    int8_t * bonus;      /* [n_kv_heads][capacity] log2(||v - c|| / v_rms) in eighths, for the design alone */
    struct vattn_kinds * kinds; /* [n_kv_heads]; NULL in indexes of strict plans, as are the four below */
    char * kind_tables;  /* what the kinds point into */
    uint8_t * kind;      /* [n_kv_heads][capacity] kind of a row's value; stale or not, always one there is */
    int8_t * off;        /* [n_kv_heads][capacity] log2(||v - mean of its kind|| / v_rms) in eighths, for the design alone;
                          * NULL where it is packed into the byte of the kind */
    uint64_t * covered;  /* [capacity / 64] rows whose codes are valid, all KV heads */
    uint64_t * escape;   /* [n_kv_heads][capacity / 64] */
    uint8_t * reach;     /* strict plans only: [n_kv_heads][capacity][3], see reach.c */
    float * key_norm;    /* strict plans only: [n_kv_heads][capacity / 64] largest |k| of 64 rows */
};

static inline const uint8_t * vattn_index_block(const struct vattn_index * x, int32_t g, int64_t row) {
    size_t bytes = vattn_layout_token_bytes(x->books[g].layout);
    return x->codes + ((size_t)g * (size_t)x->capacity) * x->token_bytes + (size_t)(row / VATTN_BLOCK) * VATTN_BLOCK * bytes;
}

static inline const uint64_t * vattn_index_escape(const struct vattn_index * x, int32_t g) {
    return x->escape + (size_t)g * (size_t)(x->capacity / 64);
}

static inline const int8_t * vattn_index_bonus(const struct vattn_index * x, int32_t g) {
    return x->bonus + (size_t)g * (size_t)x->capacity;
}

/* Kind of the value of a row. */
static inline int32_t vattn_index_kind(const struct vattn_index * x, int32_t g, int64_t row) {
    uint8_t byte = x->kind[(size_t)g * (size_t)x->capacity + (size_t)row];
    return x->off == NULL ? byte & (VATTN_PACKED_KINDS - 1) : byte;
}

/* How far it is from the mean of its kind, eighths of log2 units of v_rms. */
static inline int8_t vattn_index_off(const struct vattn_index * x, int32_t g, int64_t row) {
    size_t at = (size_t)g * (size_t)x->capacity + (size_t)row;
    return (int8_t)(x->off != NULL ? x->off[at] : x->bonus[at] - x->kind[at] / VATTN_PACKED_KINDS * 4);
}

/* Bits of coordinate a. */
static inline int vattn_code_bits(struct vattn_code_layout l, int32_t a) {
    return a < l.n8 ? 8 : a < l.n8 + l.n4 ? 4 : a < vattn_layout_coords(l) ? 2 : 0;
}

/* Where coordinate a lives in the 16-token block: byte offset of token 0 and bit shift; tokens are 4 bytes apart. */
void vattn_code_place(struct vattn_code_layout l, int32_t a, size_t * byte, int * shift);

/* Basis, widths and steps from covariance and query second moment; cov, moment: [d][d]; moment NULL = identity. */
enum vattn_status vattn_code_book_build(struct vattn_code_book * book, int32_t d, size_t token_bytes,
                                        const double * mean, const double * cov, const float * moment, double q_scale);

/* Fit the steps to the rows they were calibrated on (real coordinates are not normal): least squared error among a
 * few multiples; error_var becomes the measured error.  x: [n][d] rows minus mean. */
void vattn_code_book_fit_steps(const struct vattn_kernels * kern, struct vattn_code_book * book, int32_t d, const float * x,
                               int32_t n);

/* No coordinate may claim to be free of error: raise error_var to a hundredth of its mean. */
void vattn_code_book_floor_errors(struct vattn_code_book * book, int32_t d);

/* Reverse water-filling with the widths of the layout: lambda falling, at most token_bytes bytes per token. */
struct vattn_code_layout vattn_code_allocate(const double * lambda, int32_t d, size_t token_bytes);

/* Mean squared error of a b-bit uniform quantiser of a unit normal variable, and its step. */
double vattn_quantiser_mse(int bits);
double vattn_quantiser_step(int bits);

/* A row is on the escape list if sum_a (y_a - y^_a)^2 / error_var_a exceeds this times d.  Then the score error of every
 * other row and of any query is at most sqrt(4 d) times the error that vattn_index_query expects. */
#define VATTN_ESCAPE_UNLIKELY 4.0F

/* The level of y in a uniform mid-rise quantiser of 2 half levels, 0 for a NaN; inverse = 1 / step. */
static inline int32_t vattn_code_level(float y, float inverse, float half) {
    float c = y * inverse + half; /* >= 0 after clamping, so truncation is floor */
    c = c > 0.0F ? c : 0.0F;
    c = c < 2.0F * half - 1.0F ? c : 2.0F * half - 1.0F;
    return (int32_t)c;
}

/* What the level stands for. */
static inline float vattn_code_value(int32_t level, float step, float half) {
    return ((float)level - half + 0.5F) * step;
}

/* Codes of up to 64 rows of KV head g, y^ form: code[a * 64 + j]; residual2[j] = ||y - y^||^2 (NaN for bad rows);
 * unlikely[j] = sum_a (y_a - y^_a)^2 / error_var_a, may be NULL. */
void vattn_index_quantise(const struct vattn_index * x, const struct vattn_kv * kv, int32_t g, int64_t row, int32_t n,
                          uint8_t * code, float * residual2, float * unlikely);

/* ||y - y^||^2 of n keys less the mean, x: [n][d]; wide: room for the basis as floats, [d][d]. */
void vattn_index_residuals(const struct vattn_kernels * kern, const struct vattn_code_book * book, int32_t d, const float * x,
                           int32_t n, float * wide, float * residual2);

/* What the bytes of reach mean; every value is at least what it stands for. */
struct vattn_reach_tables {
    float residual[256]; /* ||y - y^|| */
    float unlikely[256]; /* (sum_a (y_a - y^_a)^2 / error_var_a)^1/2 */
    float value[256];    /* ||v - c|| */
};
void vattn_reach_tables(const struct vattn_index * x, int32_t g, struct vattn_reach_tables * out);

/* False if the value is too far from the mean value to be bounded: such a row must stay uncovered. */
bool vattn_reach_store(struct vattn_index * x, int32_t g, int64_t row, float residual2, float unlikely, float dist2);

/* At least the length of every encoded key among the first n rows. */
float vattn_reach_key_norm(const struct vattn_index * x, int32_t g, int64_t n);

static inline const uint8_t * vattn_index_reach(const struct vattn_index * x, int32_t g, int64_t row) {
    return x->reach + 3 * ((size_t)g * (size_t)x->capacity + (size_t)row);
}

/* How many kinds an index of this capacity affords, and the bytes of their tables for one KV head. */
struct vattn_kinds vattn_kinds_shape(const struct vattn_options * o, int64_t capacity);
size_t vattn_kinds_bytes(const struct vattn_kinds * k);
/* Where the tables of one KV head lie in their memory; k has its shape. */
void vattn_kinds_point(struct vattn_kinds * k, char * memory);

/* Learn the kinds of the listed values (values->index); off2: mean squared distance of these values from their kinds. */
enum vattn_status vattn_kinds_learn(const struct vattn_plan * plan, struct vattn_kinds * k, const struct vattn_rows * values,
                                    const float * fallback, double * off2);

/* Kind of a value, f32. */
int32_t vattn_kinds_find(const struct vattn_plan * plan, const struct vattn_kinds * k, const float * v);

/* Is the value of a covered row of the kind that the index says, and as far from it? */
bool vattn_index_kind_current(const struct vattn_index * x, const struct vattn_kv * kv, int64_t row);

/* True if all means are finite and their lengths are those of the rows; else *reason says what is wrong. */
bool vattn_kinds_valid(const struct vattn_plan * plan, const struct vattn_kinds * k, const char ** reason);

/* ||v - c||^2 of up to 64 rows of KV head g. */
void vattn_index_distance(const struct vattn_index * x, const struct vattn_kv * kv, int32_t g,
                          const struct vattn_rows * rows, float * dist2);

#define VATTN_QUERIES 16 /* query heads that are coded together, at most */

/*
 * n query heads, q: [n][d] scaled by q_scale, against the codes of a KV head.  weight: [n][d] int8, filled as far as there
 * are coordinates; sigma2: [n] expected squared errors of the proxy scores, log2 units.
 */
void vattn_index_query(const struct vattn_kernels * kern, const struct vattn_code_book * book, int32_t d, const float * q,
                       int32_t n, int8_t * weight, struct vattn_query_code * out, float * sigma2);

#endif
