/* SPDX-License-Identifier: MIT
 *
 * What the checks of kernels are made from: guarded memory, inputs, shapes, rows of every type, comparisons.
 */
#ifndef CHECK_CASE_H
#define CHECK_CASE_H

#include "check_kernels.h"

#define CASE_CANARY (-12345.678f)

#define COUNT(array)       ((int32_t)(sizeof(array) / sizeof((array)[0])))
#define PICK(check, array) (array)[case_draw_below(check, COUNT(array))]

struct guarded {
    char * map;
    size_t map_bytes;
    void * at;
};

enum kind { KIND_NORMAL, KIND_CAUCHY, KIND_TINY, KIND_ALTERNATING, N_KINDS };

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

/* Memory with rows to read; a gather draws from a few more rows than it uses. */
struct row_memory {
    struct guarded memory, index_memory;
    struct vattn_rows rows;
};

extern const int32_t case_head_counts[13];

struct guarded guarded_new(size_t bytes, bool at_end);
void guarded_free(struct guarded g);
void * case_allocate(size_t bytes);
uint32_t case_draw(struct check * check);
int32_t case_draw_below(struct check * check, int32_t n);
float case_draw_uniform(struct check * check);
float case_draw_value(struct check * check, enum kind kind);
void case_fill(float * x, size_t n, float value);
void case_fail(struct check * check, const char * kernel, const char * detail, double got, double expected);
struct shape case_draw_shape(struct check * check, int32_t trial);
struct row_memory case_draw_rows(struct check * check, const struct shape * s);
void row_memory_free(struct row_memory * m);
struct guarded case_draw_floats(struct check * check, size_t n, enum kind kind, bool at_end);
size_t case_matrix_size(const struct shape * s);
bool case_close_enough(double got, double expected, double roundings, double magnitude, double terms);
void case_compare(struct check * check, const char * kernel, const struct shape * s, const float * got,
                  const double * expected, const double * magnitude, double roundings, double terms);
int32_t case_trials(const struct check * check, int32_t n);

#endif
