/* SPDX-License-Identifier: MIT
 *
 * The double-precision twin of a look of the strict call, written to be read: same proxies, bounds and thresholds,
 * everything else anew.  For calls with one KV head.
 */
#ifndef VATTN_TEST_STRICT_TWIN_H
#define VATTN_TEST_STRICT_TWIN_H

#include "strict/strict.h"
#include "unit/layer.h"

/* What a look starts from, copied before it is drawn. */
struct strict_start {
    int32_t look;
    float * scores;
    uint64_t * known;
    uint16_t * sure;
};

struct strict_twin {
    int64_t rows;     /* read in full */
    double * o;       /* [v_dim] */
    double log2_d, v; /* sum (1 - pi)/pi^2 (e/D)^2 |v - o|^2 */
    double radius;    /* bound on |o^ - o|, infinity where none */
    double room;      /* largest (1 - pi) exp(lambda e (|v - a| + within)) of any row: below 1 or the bound is void */
};

/* Runs a call to its end and keeps what its last look started from. */
enum vattn_status strict_drive(struct layer * l, const struct vattn_input * in, struct vattn_call ** c,
                               struct strict_start * start);
void strict_start_free(struct strict_start * start);

/* The last look of head h; free t->o. */
void strict_twin_look(const struct layer * l, const struct vattn_call * c, const struct strict_start * start, int32_t h,
                      struct strict_twin * t);

/* Exact score of a row, log2 units. */
double strict_score(const struct layer * l, int32_t h, int64_t row);

#endif
