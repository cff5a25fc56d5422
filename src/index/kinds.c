/* SPDX-License-Identifier: MIT
 *
 * Kinds of values: a tree of two levels over the values of one KV head, learned by Lloyd's algorithm from the calibration
 * rows.  A value is stored as the number of its kind; the mean of the kind stands for it where only its key is read.
 *
 *     root(v) = argmin_b |v - c_b|      kind(v) = argmin_k |v - mu_k| over the kinds k of branch root(v)
 *
 * Nothing is promised about kinds: what they get wrong is sampled (docs/statistics.md, section 2).
 */
#include "index/index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/sums.h"

#define STEPS 4

/*
 * The index may have a twelfth of the bytes of f16 rows.  What codes of two bits, bonus, bits and tables leave of it is the
 * kinds': 16 x 4 of them or more where that also pays for a byte of distance, else up to 32, packed with the distance.
 * Wider codes are the caller's wish and do not count.
 */
struct vattn_kinds vattn_kinds_shape(const struct vattn_options * o, int64_t capacity) {
    double d = o->head_dim, v = o->v_dim, rows = (double)capacity;
    double row = (double)(vattn_row_size(o->v_type, o->v_dim) + sizeof(float));
    double tables = 4 * d * d + 4 * (4 * d + v) + sizeof(struct vattn_index) + sizeof(struct vattn_code_book) +
                    sizeof(struct vattn_kinds) + 64;
    double left = rows * (2.0 * (d + v) / 12.0 - d / 4.0 - 1.0 - 0.25) - tables;
    int32_t wide = (int32_t)fmax((left - 2 * rows) / row / 16.0 - 1.0, 0.0), most = VATTN_MOST_KINDS / 16;
    int32_t narrow = (int32_t)fmin(fmax((left - rows) / row - 1.0, 4.0), VATTN_PACKED_KINDS);
    struct vattn_kinds k = {.row_bytes = (size_t)row - sizeof(float)};
    k.packed = wide < 4;
    k.branches = k.packed ? 1 : 16;
    k.leaves = k.packed ? narrow : wide < most ? wide : most;
    return k;
}

size_t vattn_kinds_bytes(const struct vattn_kinds * k) {
    size_t bytes = (size_t)(k->branches + k->branches * k->leaves) * (k->row_bytes + sizeof(float));
    return (bytes + 63) / 64 * 64;
}

void vattn_kinds_point(struct vattn_kinds * k, char * memory) {
    k->branch_half = (float *)(void *)memory;
    k->half = k->branch_half + k->branches;
    k->branch = (char *)(k->half + k->branches * k->leaves);
    k->mean = k->branch + (size_t)k->branches * k->row_bytes;
}

/* ---------------------------------------------------------------------------------------------------------- nearest */

/* The row with the largest <q, mu> - |mu|^2 / 2, the first one of equals. */
static int32_t nearest(const struct vattn_plan * plan, const char * table, size_t row_bytes, const float * half, int32_t n,
                       const float * v) {
    float dot[VATTN_MOST_KINDS];
    struct vattn_rows rows = {.base = table, .stride = row_bytes, .n = n};
    vattn_plan_score_values(plan, &rows, v, 1, dot, n);
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++) {
        best = dot[i] - half[i] > dot[best] - half[best] ? i : best;
    }
    return best;
}

int32_t vattn_kinds_find(const struct vattn_plan * plan, const struct vattn_kinds * k, const float * v) {
    int32_t b = k->branches > 1 ? nearest(plan, k->branch, k->row_bytes, k->branch_half, k->branches, v) : 0;
    int32_t first = b * k->leaves;
    return first + nearest(plan, k->mean + (size_t)first * k->row_bytes, k->row_bytes, k->half + first, k->leaves, v);
}

/* ------------------------------------------------------------------------------------------------------------ learn */

struct lloyd {
    const struct vattn_plan * plan;
    const float * x;       /* [..][dim] */
    const int32_t * list;  /* rows of x that take part */
    int32_t n;
    float * score;         /* [clusters][n] */
    uint8_t * label;       /* [n] */
};

static void label_rows(const struct lloyd * l, const float * mean, int32_t k) {
    int32_t dim = l->plan->opt.v_dim;
    struct vattn_rows rows = {.base = l->x, .stride = (size_t)dim * sizeof(float), .index = l->list, .n = l->n};
    l->plan->kern->score[VATTN_TYPE_F32](&rows, mean, k, dim, l->score, l->n);
    for (int32_t i = 0; i < k; i++) {
        const float * m = mean + (size_t)i * (size_t)dim;
        float half = 0.5F * vattn_dot(m, m, dim), * s = l->score + (size_t)i * (size_t)l->n;
        for (int32_t j = 0; j < l->n; j++) {
            s[j] -= half;
            if (i == 0 || s[j] > l->score[j]) { /* the first line keeps the largest */
                l->score[j] = s[j];
                l->label[j] = (uint8_t)i;
            }
        }
    }
}

/* A mean without rows stays where it is. */
static void move_means(const struct lloyd * l, float * mean, int32_t k) {
    int32_t dim = l->plan->opt.v_dim, count[VATTN_MOST_KINDS] = {0};
    for (int32_t j = 0; j < l->n; j++) {
        count[l->label[j]]++;
    }
    for (int32_t i = 0; i < k; i++) {
        for (int32_t a = 0; a < dim && count[i] > 0; a++) {
            mean[(size_t)i * (size_t)dim + (size_t)a] = 0.0F;
        }
    }
    for (int32_t j = 0; j < l->n; j++) {
        const float * v = l->x + (size_t)l->list[j] * (size_t)dim;
        float share = 1.0F / (float)count[l->label[j]], * m = mean + (size_t)l->label[j] * (size_t)dim;
        for (int32_t a = 0; a < dim; a++) {
            m[a] += share * v[a];
        }
    }
}

/* Starts from rows evenly spread over the list; with none, all means are the fallback. */
static void lloyd(const struct lloyd * l, float * mean, int32_t k, const float * fallback) {
    size_t dim = (size_t)l->plan->opt.v_dim;
    for (int32_t i = 0; i < k; i++) {
        int32_t at = l->n > 0 ? l->list[(int64_t)i * l->n / k] : 0;
        memcpy(mean + (size_t)i * dim, l->n > 0 ? l->x + (size_t)at * dim : fallback, dim * sizeof *mean);
    }
    for (int step = 0; step < STEPS && l->n > 0; step++) {
        label_rows(l, mean, k);
        move_means(l, mean, k);
    }
}

/* Means as rows of the type of the values, and half of their squared lengths as they were rounded. */
static bool store_means(const struct vattn_plan * plan, const float * mean, int32_t k, char * table, float * half) {
    int32_t dim = plan->opt.v_dim;
    bool finite = true;
    for (int32_t i = 0; i < k; i++) {
        char * row = table + (size_t)i * vattn_row_size(plan->opt.v_type, dim);
        float x[VATTN_MAX_DIM], sum = 0.0F;
        vattn_row_write(plan->opt.v_type, mean + (size_t)i * (size_t)dim, dim, row);
        vattn_row_read(plan->opt.v_type, row, dim, x);
        for (int32_t a = 0; a < dim; a++) {
            sum += x[a] * x[a];
        }
        half[i] = 0.5F * sum;
        finite = finite && isfinite(sum);
    }
    return finite;
}

/* Are these the lengths of the rows of a table? */
static bool lengths_valid(const struct vattn_plan * plan, const char * table, const float * half, int32_t n, size_t row_bytes) {
    for (int32_t i = 0; i < n; i++) {
        float x[VATTN_MAX_DIM], sum;
        struct vattn_rows row = {.base = table + (size_t)i * row_bytes, .stride = row_bytes, .n = 1};
        vattn_plan_value(plan, &row, x);
        sum = 0.5F * vattn_dot(x, x, plan->opt.v_dim);
        if (!isfinite(half[i]) || !isfinite(sum) || fabsf(half[i] - sum) > 1e-5F * sum) {
            return false;
        }
    }
    return true;
}

bool vattn_kinds_valid(const struct vattn_plan * plan, const struct vattn_kinds * k, const char ** reason) {
    if (k->branches < 1 || k->leaves < 1 || k->branches * k->leaves > (k->packed ? VATTN_PACKED_KINDS : VATTN_MOST_KINDS)) {
        *reason = "kinds: more or fewer than a byte of a row can name";
        return false;
    }
    bool valid = lengths_valid(plan, k->branch, k->branch_half, k->branches, k->row_bytes) &&
                 lengths_valid(plan, k->mean, k->half, k->branches * k->leaves, k->row_bytes);
    if (!valid) {
        *reason = "kinds: a mean is not finite or its length is another one's";
    }
    return valid;
}

/* Rows of the list that a label names, and how many. */
static int32_t pick(const struct lloyd * l, int32_t label, int32_t * out) {
    int32_t n = 0;
    for (int32_t j = 0; j < l->n; j++) {
        if (l->label[j] == label) {
            out[n++] = l->list[j];
        }
    }
    return n;
}

/* Mean squared distance of the rows from their kinds. */
static double mean_off(const struct vattn_plan * plan, const struct vattn_kinds * k, const float * means, const float * x,
                       int32_t n) {
    size_t dim = (size_t)plan->opt.v_dim;
    double sum = 0.0;
    for (int32_t j = 0; j < n; j++) {
        const float * v = x + (size_t)j * dim, * m = means + (size_t)vattn_kinds_find(plan, k, v) * dim;
        for (size_t a = 0; a < dim; a++) {
            sum += (double)((v[a] - m[a]) * (v[a] - m[a]));
        }
    }
    return sum / n;
}

enum vattn_status vattn_kinds_learn(const struct vattn_plan * plan, struct vattn_kinds * k, const struct vattn_rows * values,
                                    const float * fallback, double * off2) {
    size_t dim = (size_t)plan->opt.v_dim, n = (size_t)values->n;
    int32_t widest = k->branches > k->leaves ? k->branches : k->leaves;
    float * x = calloc(n * dim, sizeof *x), * score = malloc(n * (size_t)widest * sizeof *score);
    float * branch = malloc((size_t)k->branches * dim * sizeof *branch);
    float * mean = malloc((size_t)(k->branches * k->leaves) * dim * sizeof *mean);
    int32_t * list = malloc(2 * n * sizeof *list);
    uint8_t * label = malloc(2 * n);
    enum vattn_status status = VATTN_STATUS_NO_MEMORY;
    if (x != NULL && score != NULL && branch != NULL && mean != NULL && list != NULL && label != NULL) {
        for (int32_t j = 0; j < values->n; j++) {
            struct vattn_rows row = {.base = values->base, .stride = values->stride, .index = values->index + j, .n = 1};
            vattn_plan_value(plan, &row, x + (size_t)j * dim);
            list[j] = j;
        }
        struct lloyd all = {plan, x, list, values->n, score, label};
        lloyd(&all, branch, k->branches, fallback);
        label_rows(&all, branch, k->branches);
        for (int32_t b = 0; b < k->branches; b++) {
            struct lloyd part = {plan, x, list + n, pick(&all, b, list + n), score, label + n};
            lloyd(&part, mean + (size_t)(b * k->leaves) * dim, k->leaves, branch + (size_t)b * dim);
        }
        bool finite = store_means(plan, branch, k->branches, k->branch, k->branch_half);
        finite = store_means(plan, mean, k->branches * k->leaves, k->mean, k->half) && finite;
        *off2 = finite ? mean_off(plan, k, mean, x, values->n) : 0.0;
        status = finite ? VATTN_STATUS_OK : VATTN_STATUS_NOT_FINITE;
    }
    free(x);
    free(score);
    free(branch);
    free(mean);
    free(list);
    free(label);
    return status;
}
