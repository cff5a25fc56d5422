/* SPDX-License-Identifier: MIT */
#include "unit/paper_check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <vattn_experimental.h>

#include "base/bits.h"
#include "paper/paper.h"
#include "unit/drive.h"

struct vattn_options paper_options(enum vattn_method method, int64_t n) {
    struct vattn_options o = layer_options(4, 2, 32, n);
    o.method = method;
    return o;
}

struct vattn_call * paper_attend(struct layer * l, const struct vattn_input * in) {
    struct vattn_call * call;
    assert_int_equal(vattn_call_begin(l->plan, in, l->work, l->work_bytes, &call), VATTN_STATUS_OK);
    drive_alone(call);
    assert_true(vattn_call_end(call) >= 0);
    return call;
}

void paper_use_selector(struct layer * l, const struct vattn_selector * s) {
    free(l->work);
    l->work_bytes = vattn_selector_call_bytes(l->plan, s);
    l->work = aligned_alloc(64, l->work_bytes);
}

static double difference(const float * out, const double * o, int32_t dim) {
    double e = 0.0, norm = 0.0;
    for (int32_t a = 0; a < dim; a++) {
        e += ((double)out[a] - o[a]) * ((double)out[a] - o[a]);
        norm += o[a] * o[a];
    }
    return sqrt(e / norm);
}

void paper_compare(const struct layer * l, const struct vattn_call * c, struct paper_case * which, uint64_t * read) {
    const struct vattn_paper_head * h = &c->paper->heads[which->head];
    struct paper_twin t;
    double log_d;
    int64_t used = 0;
    which->budget = h->budget;
    if (which->other != NULL) {
        which->other->budget = c->paper->heads[which->other->head].budget;
    }
    paper_twin(l, which, &t);
    if (which->method == VATTN_METHOD_PAPER_SDPA) { /* the twin tries a grid, which finds a little more */
        assert_true(h->budget <= t.budget + 1 && (double)h->budget >= 0.995 * (double)t.budget - 1.0);
    } else {
        assert_true(llabs(h->budget - t.budget) <= 1);
    }
    assert_int_equal(h->pilot, t.pilot);
    for (int64_t r = 0; r < l->kv.n_keys; r++) {
        if (t.inverse[r] > 0.0) {
            vattn_bit_set(read, r);
            used++;
        }
    }
    assert_int_equal(h->used, used);
    assert_true(difference(l->out + which->head * l->options.v_dim, t.o, l->options.v_dim) < 2e-5);
    assert_true(vattn_call_log_denominator(c, which->head, &log_d));
    assert_true(fabs(log_d - t.log_d) < 1e-5);
    paper_twin_free(&t);
}
