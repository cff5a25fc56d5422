/* SPDX-License-Identifier: MIT
 *
 * The double-precision twin of a sparse look, written to be read: same proxies, thresholds and kinds, everything else anew.
 */
#ifndef VATTN_TEST_SPARSE_TWIN_H
#define VATTN_TEST_SPARSE_TWIN_H

#include "sparse/sparse.h"
#include "unit/layer.h"

struct twin {
    int64_t rows;     /* read by the KV head */
    int32_t doubtful; /* rows whose number lies so near to the probability of their value that the rounding of a score decides */
    double * o;       /* [v_dim] Hajek estimate */
    double v;         /* tr S */
    double trace2;    /* tr(S^2), the full matrix */
    double neff, a0;
    double bias;      /* |sum over rows 1/pi (1/pi1 - 1) (e/D)^2 (v - o)|, the bias of the ratio */
};

/* The last look of head h of a finished call.  Free t->o. */
void twin_look(const struct layer * l, const struct vattn_call * c, int32_t h, struct twin * t);

#endif
