/* SPDX-License-Identifier: MIT */
#include "unit/select_case.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/half.h"
#include "base/random.h"
#include "unit/drive.h"
#include "unit/paper_twin.h"

const struct select_shape select_shapes[] = {
    {4, 2, 24, 300, VATTN_TYPE_F16, 0.0}, {1, 1, 1, 1, VATTN_TYPE_F16, 0.0},     {2, 1, 7, 1, VATTN_TYPE_F32, 0.0},
    {6, 2, 33, 15, VATTN_TYPE_F16, 0.0},  {4, 4, 32, 16, VATTN_TYPE_F16, 0.0},   {4, 1, 32, 17, VATTN_TYPE_F32, 0.0},
    {3, 3, 65, 257, VATTN_TYPE_F16, 1.0}, {4, 2, 128, 700, VATTN_TYPE_F16, 1.5}, {6, 2, 20, 511, VATTN_TYPE_F32, 2.0},
};
const int n_select_shapes = (int)(sizeof select_shapes / sizeof *select_shapes);

static double normal(uint64_t seed, uint64_t i) {
    const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), 8, vattn_random_stream(VATTN_RANDOM_TEST, 0, 0)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t word[4];
    vattn_philox4x32(counter, key, word);
    return sqrt(-2.0 * log(vattn_random_uniform(word[0]))) * cos(6.283185307179586 * vattn_random_uniform(word[1]));
}

static void write_key(struct layer * l, size_t i, double x) {
    if (l->options.k_type == VATTN_TYPE_F32) {
        l->k32[i] = ((float *)l->k)[i] = (float)x;
    } else {
        ((uint16_t *)l->k)[i] = vattn_half_from_float((float)x);
        l->k32[i] = vattn_half_to_float(((uint16_t *)l->k)[i]);
    }
}

void select_layer(struct layer * l, const struct select_shape * shape, enum vattn_method method, uint64_t seed) {
    struct vattn_options o = layer_options(shape->heads, shape->kv_heads, shape->dim, shape->n);
    o.method = method;
    o.k_type = o.v_type = shape->type;
    layer_make(l, &o, seed);
    size_t rows = (size_t)shape->n * (size_t)shape->kv_heads, dim = (size_t)shape->dim;
    for (size_t r = 0; r < rows && shape->tail > 0.0; r++) {
        double factor = fmin(500.0, exp(shape->tail * normal(seed, r)));
        for (size_t a = 0; a < dim; a++) {
            write_key(l, r * dim + a, (double)l->k32[r * dim + a] * factor);
        }
    }
}

int32_t select_kv_head(const struct layer * l, int32_t head) {
    return head / (l->options.n_heads / l->options.n_kv_heads);
}

double select_key(const struct layer * l, int32_t g, int64_t row, int32_t a) {
    size_t groups = (size_t)l->options.n_kv_heads, dim = (size_t)l->options.head_dim;
    return (double)l->k32[((size_t)row * groups + (size_t)g) * dim + (size_t)a];
}

double select_dot(const struct layer * l, int32_t head, int64_t row) {
    double sum = 0.0;
    for (int32_t a = 0; a < l->options.head_dim; a++) {
        sum += (double)l->q[head * l->options.head_dim + a] * select_key(l, select_kv_head(l, head), row, a);
    }
    return sum;
}

double select_query_norm(const struct layer * l, int32_t head) {
    double sum = 0.0;
    for (int32_t a = 0; a < l->options.head_dim; a++) {
        sum += pow((double)l->q[head * l->options.head_dim + a], 2);
    }
    return sqrt(sum);
}

double select_angle(const struct layer * l, int32_t head, int64_t row) {
    double square = 0.0;
    for (int32_t a = 0; a < l->options.head_dim; a++) {
        square += pow(select_key(l, select_kv_head(l, head), row, a), 2);
    }
    return acos(fmax(-1.0, fmin(1.0, select_dot(l, head, row) / (select_query_norm(l, head) * sqrt(square)))));
}

struct vattn_selector_options select_options(enum vattn_method kind) {
    return (struct vattn_selector_options){
        .struct_size = sizeof(struct vattn_selector_options), .kind = kind, .seed = 11};
}

struct vattn_selector * select_make(const struct layer * l, const struct vattn_selector_options * o,
                                    const float * moment) {
    struct vattn_selector * s;
    assert_int_equal(vattn_selector_create(l->plan, &l->kv, o, moment, &s), VATTN_STATUS_OK);
    return s;
}

enum vattn_status select_status(const struct layer * l, const struct vattn_selector_options * o, const float * moment) {
    struct vattn_selector * s;
    enum vattn_status status = vattn_selector_create(l->plan, &l->kv, o, moment, &s);
    assert_true((s != NULL) == (status == VATTN_STATUS_OK));
    vattn_selector_free(s);
    return status;
}

int64_t select_score(const struct vattn_selector * s, const struct layer * l, int32_t head, int64_t n, float * score) {
    void * work = malloc(s->kind->work_bytes(s) + 1); /* a sanitizer sees what lies behind */
    int64_t bytes = s->kind->score(s, &l->kv, head, l->q + head * l->options.head_dim, n, score, work);
    free(work);
    return bytes;
}

/* ---------------------------------------------------------------------------------------------------------- recall */

/* The k-th largest of x, by taking the largest away k times. */
static void mark_best(const double * x, int64_t n, int64_t k, char * mark) {
    memset(mark, 0, (size_t)n);
    for (; k > 0; k--) {
        int64_t best = 0;
        for (int64_t i = 1; i < n; i++) {
            best = !mark[i] && (mark[best] || x[i] > x[best]) ? i : best;
        }
        mark[best] = 1;
    }
}

double select_recall(const struct vattn_selector * s, const struct layer * l, int64_t k) {
    size_t n = (size_t)l->kv.n_keys;
    float * score = malloc(n * sizeof *score);
    double *exact = malloc(n * sizeof *exact), *proxy = malloc(n * sizeof *proxy), found = 0.0;
    char *wanted = malloc(n), *taken = malloc(n);
    for (int32_t h = 0; h < l->options.n_heads; h++) {
        select_score(s, l, h, (int64_t)n, score);
        for (size_t r = 0; r < n; r++) {
            exact[r] = select_dot(l, h, (int64_t)r);
            proxy[r] = (double)score[r];
        }
        mark_best(exact, (int64_t)n, k, wanted);
        mark_best(proxy, (int64_t)n, k, taken);
        for (size_t r = 0; r < n; r++) {
            found += wanted[r] && taken[r];
        }
    }
    free(score);
    free(exact);
    free(proxy);
    free(wanted);
    free(taken);
    return found / (double)(k * l->options.n_heads);
}

/* ---------------------------------------------------------------------------------------------------------- checks */

struct job {
    const struct vattn_selector * s;
    const struct layer * l;
    int32_t head;
    float * score;
};

static void * score_in_thread(void * arg) {
    const struct job * j = arg;
    for (int i = 0; i < 5; i++) {
        select_score(j->s, j->l, j->head, j->l->kv.n_keys, j->score);
    }
    return NULL;
}

static void check_scores(const struct vattn_selector_options * o, const struct layer * l) {
    enum { HEADS = 4, N = 333 };
    struct vattn_selector *a = select_make(l, o, l->moment), *b = select_make(l, o, l->moment);
    float first[N], again[N], threaded[HEADS][N];
    struct job job[HEADS];
    pthread_t id[HEADS];
    assert_int_equal(vattn_selector_bytes(a), vattn_selector_bytes(b));
    for (int32_t h = 0; h < HEADS; h++) {
        job[h] = (struct job){a, l, h, threaded[h]};
        assert_int_equal(pthread_create(&id[h], NULL, score_in_thread, &job[h]), 0);
    }
    for (int32_t h = 0; h < HEADS; h++) {
        pthread_join(id[h], NULL);
        int64_t bytes = select_score(a, l, h, N, first);
        assert_int_equal(select_score(b, l, h, N, again), bytes);
        assert_memory_equal(first, again, sizeof first);
        assert_memory_equal(first, threaded[h], sizeof first);
        assert_true(select_score(a, l, h, 100, again) <= bytes);
        assert_memory_equal(first, again, 100 * sizeof *first);
        for (int r = 0; r < N; r++) {
            assert_true(isfinite(first[r]));
        }
    }
    vattn_selector_free(a);
    vattn_selector_free(b);
}

static void check_refusals(const struct vattn_selector_options * o, struct layer * l) {
    size_t places[] = {0, (size_t)(l->kv.n_keys * l->options.n_kv_heads * l->options.head_dim) - 1};
    uint16_t * k = l->k;
    for (int i = 0; i < 2; i++) {
        uint16_t before = k[places[i]];
        k[places[i]] = i == 0 ? 0x7e00 : 0x7c00; /* NaN, infinity */
        assert_int_equal(select_status(l, o, NULL), VATTN_STATUS_NOT_FINITE);
        k[places[i]] = before;
    }
    assert_int_equal(select_status(l, o, NULL), VATTN_STATUS_OK);
}

/* Rows and bytes of a whole call; the selector covers the first `covered` rows. */
static void check_call(const struct vattn_selector_options * o, enum vattn_method method, int64_t covered) {
    const struct select_shape shape = {4, 2, 32, 640, VATTN_TYPE_F16, 0.5};
    enum { N = 640 };
    struct layer l;
    select_layer(&l, &shape, method, 5);
    struct vattn_options po = l.options;
    po.paper_topk = 64;
    po.eps = 0.3;
    vattn_plan_free(l.plan);
    assert_int_equal(vattn_plan_create(&po, &l.plan, NULL), VATTN_STATUS_OK);
    l.options = *vattn_plan_options(l.plan);
    l.kv.n_keys = covered;
    struct vattn_selector * s = select_make(&l, o, l.moment);
    l.kv.n_keys = N;
    free(l.work);
    l.work_bytes = vattn_selector_call_bytes(l.plan, s);
    l.work = aligned_alloc(64, l.work_bytes);
    struct vattn_input in = layer_input(&l, 3);
    in.selector = s;
    assert_true(drive(&l, &in, 2) >= 0);
    int64_t index = 0, row = 32 * 2 * 2;
    for (int32_t h = 0; h < 4; h++) {
        struct paper_twin t;
        float proxy[N];
        index = (h % 2 == 0 ? 0 : index) + select_score(s, &l, h, covered, proxy);
        const struct paper_case which = {
            .method = method, .head = h, .nonce = 3, .proxy = proxy, .covered = covered, .budget = -1};
        paper_twin(&l, &which, &t);
        for (int a = 0; a < 32; a++) {
            assert_true(fabs((double)l.out[h * 32 + a] - t.o[a]) < 1e-4);
        }
        if (h % 2 == 1) {
            assert_int_equal(l.cert[h].bytes, l.cert[h].rows_kv * row + l.cert[h].rows_k * row / 2 + index);
        }
        assert_true(l.cert[h].rows_kv >= 36 + 64 + N - covered - 32 && l.cert[h].rows_kv < N);
        paper_twin_free(&t);
    }
    vattn_selector_free(s);
    layer_free(&l);
}

void select_check_kind(const struct vattn_selector_options * o) {
    const struct select_shape shape = {4, 2, 24, 333, VATTN_TYPE_F16, 0.5};
    struct layer l;
    select_layer(&l, &shape, o->kind, 6);
    check_scores(o, &l);
    check_refusals(o, &l);
    layer_free(&l);
    check_call(o, o->kind, 640);
    check_call(o, o->kind, 560);
    check_call(o, VATTN_METHOD_PAPER_D, 560);
}
