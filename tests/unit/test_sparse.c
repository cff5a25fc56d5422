/* SPDX-License-Identifier: MIT
 *
 * The sparse call: against its double-precision twin, any number of threads, masks, rows without codes, fall-backs.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "call/state.h"
#include "unit/drive.h"
#include "unit/layer.h"
#include "unit/sparse_twin.h"

static struct vattn_options sparse_options(int32_t heads, int32_t kv_heads, int32_t d, int64_t n) {
    struct vattn_options o = layer_options(heads, kv_heads, d, n);
    o.method = VATTN_METHOD_SPARSE;
    o.eps = 0.1;
    return o;
}

static double relative(double a, double b) {
    return fabs(a - b) / fmax(fabs(b), 1e-300);
}

/* Every look's numbers, recomputed from the definition. */
static void agrees_with_twin(void ** state) {
    (void)state;
    static const struct {
        int32_t heads, kv_heads, dim;
        enum vattn_type k, v;
    } shape[] = {{7, 1, 64, VATTN_TYPE_F16, VATTN_TYPE_F16},   {6, 2, 64, VATTN_TYPE_F16, VATTN_TYPE_F16},
                 {8, 2, 128, VATTN_TYPE_F16, VATTN_TYPE_F16},  {4, 4, 40, VATTN_TYPE_F16, VATTN_TYPE_F16},
                 {7, 1, 64, VATTN_TYPE_Q8_0, VATTN_TYPE_Q8_0}, {8, 2, 128, VATTN_TYPE_Q8_0, VATTN_TYPE_F16},
                 {6, 2, 40, VATTN_TYPE_BF16, VATTN_TYPE_BF16}, {6, 2, 64, VATTN_TYPE_F32, VATTN_TYPE_Q8_0}};
    int compared = 0, heads = 0;
    for (size_t i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        struct vattn_options o = sparse_options(shape[i].heads, shape[i].kv_heads, shape[i].dim, 6000);
        struct layer l;
        o.k_type = shape[i].k;
        o.v_type = shape[i].v;
        layer_make(&l, &o, 40 + i);
        layer_index(&l);
        struct vattn_input in = layer_input(&l, 77);
        struct vattn_call * c;
        assert_int_equal(vattn_call_begin(l.plan, &in, l.work, l.work_bytes, &c), VATTN_STATUS_OK);
        drive_alone(c);
        assert_int_equal(vattn_call_end(c), VATTN_STATUS_OK);
        assert_true(layer_error(&l) < 0.1);
        for (int32_t h = 0; h < o.n_heads; h++) {
            if (l.cert[h].answer != VATTN_ANSWER_CERTIFIED) {
                continue;
            }
            struct twin t;
            twin_look(&l, c, h, &t);
            if (t.doubtful > 0) {
                free(t.o);
                continue;
            }
            const struct vattn_evidence * e = &c->sparse->heads[h].evidence;
            compared++;
            assert_int_equal(t.rows, l.cert[h].rows_kv);
            assert_true(relative(e->v, t.v) < 1e-3);
            assert_true(relative(vattn_evidence_neff(e), t.neff) < 1e-3);
            assert_true(relative(e->a0, t.a0) < 1e-3);
            assert_true(t.bias <= sqrt(t.a0 * t.v) * 1.001);
            double nu = t.v * t.v / t.trace2, picked = vattn_evidence_nu(e, 0.05, o.head_dim);
            assert_true(picked > 0.6 * nu && picked < 1.6 * nu);
            for (int32_t a = 0; a < o.head_dim; a++) {
                assert_true(fabs((double)l.out[h * o.head_dim + a] - t.o[a]) < 1e-4);
            }
            free(t.o);
        }
        heads += o.n_heads;
        layer_free(&l);
    }
    print_message("%d of %d heads compared, with no row in doubt\n", compared, heads);
    assert_true(2 * compared > heads);
}

/* One thread in lock step against more threads, in lock step and freely. */
static void same_for_any_team(const struct vattn_options * o) {
    struct layer l;
    float one[14 * 64];
    struct vattn_certificate cert[14];
    layer_make(&l, o, 50);
    layer_index(&l);
    struct vattn_input in = layer_input(&l, 5);
    assert_int_equal(drive(&l, &in, 1), VATTN_STATUS_OK);
    memcpy(one, l.out, sizeof one);
    memcpy(cert, l.cert, sizeof cert);
    static const int counts[] = {1, 2, 5};
    for (int i = 0; i < 6; i++) {
        memset(l.out, 0, sizeof one);
        assert_int_equal((i < 3 ? drive : drive_freely)(&l, &in, counts[i % 3]), VATTN_STATUS_OK);
        assert_memory_equal(one, l.out, sizeof one);
        assert_memory_equal(cert, l.cert, sizeof cert);
    }
    in.nonce = 6;
    assert_int_equal(drive_freely(&l, &in, 2), VATTN_STATUS_OK);
    if (cert[0].answer == VATTN_ANSWER_CERTIFIED) {
        assert_memory_not_equal(one, l.out, sizeof one); /* other draws */
    }
    layer_free(&l);
}

static void threads_do_not_matter(void ** state) {
    (void)state;
    struct vattn_options o = sparse_options(14, 2, 64, 6144);
    same_for_any_team(&o);
    o.scope = VATTN_SCOPE_LAYER;
    same_for_any_team(&o);
    o.eps = 1e-4; /* every head is answered exactly in the end */
    same_for_any_team(&o);
    o.scope = VATTN_SCOPE_HEAD;
    same_for_any_team(&o);
    o.method = VATTN_METHOD_EXACT;
    same_for_any_team(&o);
    o = sparse_options(16, 8, 64, 5000); /* KV heads that take slots over from one another */
    same_for_any_team(&o);
    o = sparse_options(14, 2, 64, 6144);
    o.k_type = VATTN_TYPE_Q8_0;
    o.v_type = VATTN_TYPE_BF16;
    same_for_any_team(&o);
}

/* Hidden rows may hold anything; rows without codes are read. */
static void masks_and_coverage(void ** state) {
    (void)state;
    struct vattn_options o = sparse_options(6, 2, 64, 5000);
    struct layer l;
    layer_make(&l, &o, 60);
    layer_index(&l);
    uint64_t visible[79] = {0};
    for (int64_t r = 0; r < 5000; r++) {
        if (r % 5 != 2 && r < 4800) {
            vattn_bit_set(visible, r);
        } else {
            memset((uint16_t *)l.k + r * 128, 0xff, 256);
            memset((uint16_t *)l.v + r * 128, 0xff, 256);
        }
    }
    l.kv.visible = visible;
    vattn_index_forget(l.index, 4000, 4400);
    struct vattn_input in = layer_input(&l, 8);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    assert_true(layer_error(&l) < 0.1);
    assert_int_equal(l.cert[0].n_keys, 3840);
    assert_true(l.cert[0].rows_kv >= 320);
    layer_free(&l);
}

static void falls_back_to_exact(void ** state) {
    (void)state;
    struct vattn_options o = sparse_options(6, 2, 64, 3000);
    struct layer l;
    o.eps = 1e-4; /* no sample can promise this */
    layer_make(&l, &o, 70);
    layer_index(&l);
    struct vattn_input in = layer_input(&l, 8);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    for (int h = 0; h < 6; h++) {
        assert_int_equal(l.cert[h].answer, VATTN_ANSWER_EXACT);
        assert_int_equal(l.cert[h].rows_kv, 3000);
    }
    assert_true(layer_error(&l) < 1e-5);
    in.index = NULL; /* nothing to be sparse with */
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    assert_true(layer_error(&l) < 1e-5);
    layer_free(&l);
}

/* A layer that is called again and again, with a controller; with the rates of AVX2 on every tier, so that all choose alike. */
struct repeated {
    struct layer l;
    void * memory;
};

static void repeated_make(struct repeated * r, const struct vattn_options * o, uint32_t seed) {
    layer_make(&r->l, o, seed);
    layer_index(&r->l);
    r->l.plan->cost = vattn_cost_of(vattn_plan_options(r->l.plan), &(struct vattn_kernels){.name = "avx2"});
    r->memory = calloc(1, vattn_state_bytes(r->l.plan));
    assert_non_null(r->memory);
}

/* Paces of the KV heads, then that of the layer. */
static const struct vattn_pace * repeated_call(struct repeated * r, uint64_t call) {
    struct vattn_input in = layer_input(&r->l, call);
    in.state = call == 0 ? vattn_state_init(r->l.plan, r->memory) : r->memory;
    assert_int_equal(vattn_attend(r->l.plan, &in, r->l.work, r->l.work_bytes), VATTN_STATUS_OK);
    return vattn_state_paces(in.state);
}

static void repeated_free(struct repeated * r) {
    free(r->memory);
    layer_free(&r->l);
}

/* Where a sample of half the rows would be needed, `fastest` answers exactly, pauses, and tries again ever more rarely. */
static void slow_heads_are_exact(void ** state) {
    (void)state;
    struct vattn_options o = sparse_options(6, 2, 64, 6000);
    struct repeated r;
    o.eps = 0.004;
    o.max_rows = 1.0;
    o.fastest = true;
    repeated_make(&r, &o, 70);
    const int64_t all = 6000 * (int64_t)(vattn_row_bytes(o.k_type, 64) + vattn_row_bytes(o.v_type, 64));
    int tried = 0;
    for (uint64_t call = 0; call < 40; call++) {
        repeated_call(&r, call);
        assert_int_equal(r.l.cert[0].answer, VATTN_ANSWER_EXACT);
        assert_true(layer_error(&r.l) < 1e-5);
        tried += r.l.cert[0].bytes > all; /* the codes were read, too */
    }
    assert_in_range(tried, 4, 6); /* calls 0, 2, 6, 14, 30 */
    repeated_free(&r);
}

/* Every KV head alone is not far slower than dense attention, all of them together are slower: the layer pauses. */
static void slow_layers_are_exact(void ** state) {
    (void)state;
    struct vattn_options o = sparse_options(14, 2, 64, 4864);
    struct repeated r;
    o.eps = 0.2;
    o.fastest = true;
    repeated_make(&r, &o, 71);
    int sampled = 0;
    for (uint64_t call = 0; call < 40; call++) {
        const struct vattn_pace * paces = repeated_call(&r, call);
        assert_int_equal(paces[0].pause, 0);
        assert_int_equal(paces[1].pause, 0);
        assert_true(paces[2].pause > 0);
        sampled += r.l.cert[0].answer != VATTN_ANSWER_EXACT;
    }
    assert_int_equal(sampled, 5); /* calls 0, 2, 6, 14, 30 */
    repeated_free(&r);
}

/* Values that cancel: ||o|| is tiny against the spread of v, so only exact will do. */
static void cancellation_is_exact(void ** state) {
    (void)state;
    struct vattn_options o = sparse_options(2, 1, 64, 4096);
    struct layer l;
    o.v_type = VATTN_TYPE_F32;
    layer_make(&l, &o, 80);
    memset(l.q, 0, 2 * 64 * sizeof(float)); /* flat softmax */
    for (int r = 0; r < 4096; r++) {
        for (int a = 0; a < 64; a++) {
            ((float *)l.v)[r * 64 + a] = l.v32[r * 64 + a] = r % 2 == 0 ? 1.0F : -1.0F;
        }
    }
    layer_index(&l);
    struct vattn_input in = layer_input(&l, 8);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
    assert_int_equal(l.cert[0].answer, VATTN_ANSWER_EXACT);
    layer_free(&l);
}

/* log2 D and ||o||^2 / v_rms^2 of head h by the forecast's definition: exact scores of all rows, double precision. */
static void twin_forecast(const struct layer * l, const struct vattn_call * c, int32_t h, double * log2_d, double * output2) {
    const struct vattn_sparse * s = c->sparse;
    int32_t d = l->options.head_dim, dv = l->options.v_dim, kv = l->options.n_kv_heads, g = h / c->plan->group;
    const struct vattn_code_book * book = &l->index->books[g];
    double sure = 0.0, all = 0.0, squares = 0.0, norm2 = 0.0, * mean = calloc((size_t)dv, sizeof *mean);
    for (int64_t r = 0; r < l->kv.n_keys; r++) {
        double x = 0.0;
        for (int32_t a = 0; a < d; a++) {
            x += (double)l->q[h * d + a] * (double)l->k32[(r * kv + g) * d + a];
        }
        x = exp(x * (double)l->options.scale);
        all += x;
        if (((unsigned)s->sure[r / 16] >> (r % 16) & 1U) == 0) {
            squares += x * x;
            continue;
        }
        sure += x;
        for (int32_t a = 0; a < dv; a++) {
            mean[a] += x * (double)l->v32[(r * kv + g) * dv + a];
        }
    }
    for (int32_t a = 0; a < dv; a++) {
        double o = mean[a] / all + (1.0 - sure / all) * (double)book->v_mean[a];
        norm2 += o * o;
    }
    *log2_d = log2(all);
    *output2 = fmax(norm2 / (double)(book->v_rms * book->v_rms), 0.05) + squares / (all * all);
    free(mean);
}

/* Proxies and a subsample of them come near what all exact scores would say. */
static void forecasts_are_near(void ** state) {
    (void)state;
    struct vattn_options o = sparse_options(7, 1, 64, 9000);
    struct layer l;
    layer_make(&l, &o, 90);
    layer_index(&l);
    struct vattn_input in = layer_input(&l, 3);
    struct vattn_call * c;
    assert_int_equal(vattn_call_begin(l.plan, &in, l.work, l.work_bytes, &c), VATTN_STATUS_OK);
    drive_alone(c);
    for (int32_t h = 0; h < o.n_heads; h++) {
        double log2_d, output2;
        twin_forecast(&l, c, h, &log2_d, &output2);
        assert_true(fabs((double)c->sparse->heads[h].log2_sum - log2_d) < 0.7);
        assert_true(fabs(log2((double)c->sparse->heads[h].output2 / output2)) < 1.0);
    }
    layer_free(&l);
}

/* The controller must neither cost rows nor looks. */
static void a_warm_call_is_no_dearer(void ** state) {
    (void)state;
    struct vattn_options o = sparse_options(7, 1, 64, 9000);
    struct layer l;
    o.eps = 0.05;
    layer_make(&l, &o, 91);
    layer_index(&l);
    void * warm = calloc(1, vattn_state_bytes(l.plan));
    vattn_state_init(l.plan, warm);
    int64_t rows[2] = {0}, looks[2] = {0};
    for (uint64_t nonce = 0; nonce < 24; nonce++) {
        for (int i = 0; i < 2; i++) {
            struct vattn_input in = layer_input(&l, nonce);
            in.state = i == 1 ? warm : NULL;
            assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_OK);
            rows[i] += nonce < 8 ? 0 : l.cert[0].rows_kv;
            looks[i] += nonce < 8 ? 0 : l.cert[0].rounds;
        }
    }
    print_message("cold %lld rows, %lld looks; warm %lld rows, %lld looks\n", (long long)rows[0], (long long)looks[0],
                  (long long)rows[1], (long long)looks[1]);
    assert_true(rows[1] * 20 <= rows[0] * 21);
    assert_true(looks[1] <= looks[0]);
    free(warm);
    layer_free(&l);
}

/* What is allowed belongs to ||o||, the estimate is longer by its own variance; a bias counts as a square. */
static void evidence_is_judged_by_definition(void ** state) {
    (void)state;
    struct vattn_quantile table;
    vattn_quantile_init(&table, 0.05);
    struct vattn_evidence e = {.o2 = 4.0, .v = 0.04, .yy = 1e-4, .q = 1e-5, .a0 = 0.01, .trace2 = 1.6e-4};
    double c = vattn_quantile_f(&table, 10.0, 2.0 * 0.04 * 0.04 / 1e-5);
    assert_true(relative(vattn_evidence_allowed(&e, 0.1), 0.1 * sqrt(3.96)) < 1e-12);
    assert_true(relative(vattn_evidence_bound(&e, &table, 64, 1.0), sqrt(c * 0.04 * 1.01)) < 1e-12);
    e.v = 4.1;
    assert_true(vattn_evidence_allowed(&e, 0.1) == 0.0);
}

static void paper_d_claims_nothing_about_the_output(void ** state) {
    (void)state;
    struct vattn_options o = layer_options(4, 2, 64, 4000);
    struct layer l;
    o.method = VATTN_METHOD_PAPER_D;
    layer_make(&l, &o, 90);
    struct vattn_input in = layer_input(&l, 3);
    assert_int_equal(vattn_attend(l.plan, &in, l.work, l.work_bytes), VATTN_STATUS_UNCERTIFIED);
    assert_true(layer_error(&l) < 0.5);
    assert_int_equal(l.cert[0].answer, VATTN_ANSWER_UNCERTIFIED);
    assert_true(l.cert[0].rows_kv < 4000);
    layer_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_twin),   cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(masks_and_coverage), cmocka_unit_test(falls_back_to_exact),
        cmocka_unit_test(slow_heads_are_exact), cmocka_unit_test(slow_layers_are_exact),
        cmocka_unit_test(cancellation_is_exact), cmocka_unit_test(forecasts_are_near),
        cmocka_unit_test(a_warm_call_is_no_dearer), cmocka_unit_test(evidence_is_judged_by_definition),
        cmocka_unit_test(paper_d_claims_nothing_about_the_output)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
