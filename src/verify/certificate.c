/* SPDX-License-Identifier: MIT */
#include "verify/certificate.h"

#include <math.h>

double vattn_evidence_nu(const struct vattn_evidence * e, double delta, int32_t dim) {
    double nu = delta >= VATTN_DELTA_SATTERTHWAITE ? e->v * e->v / e->trace2 : e->v / e->top;
    return !(nu >= 1.0) ? 1.0 : nu > dim ? dim : nu;
}

double vattn_evidence_neff(const struct vattn_evidence * e) {
    return e->q > 0.0 ? e->v * e->v / e->q : INFINITY;
}

double vattn_evidence_allowed(const struct vattn_evidence * e, double eps) {
    double o2 = e->o2 - e->v;
    return o2 > 0.0 ? eps * sqrt(o2) : 0.0;
}

double vattn_evidence_bound(const struct vattn_evidence * e, const struct vattn_quantile * table, int32_t dim,
                            double fall) {
    if (e->v == 0.0) {
        return 0.0;
    }
    double neff = fmax(1.0, vattn_evidence_neff(e) * fall); /* F needs at least one draw */
    double c = vattn_quantile_f(table, vattn_evidence_nu(e, table->delta, dim), 2.0 * neff);
    return sqrt(c * e->v / fall * (1.0 + e->a0 / fall));
}
