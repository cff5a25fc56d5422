/* SPDX-License-Identifier: MIT */
#include "subject.h"

#include "complain.h"
#include "second_moment.h"
#include "selector_make.h"
#include "team.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t WARM_NONCE = (uint64_t)1 << 63;
static const int64_t LEAST_ROWS_TO_CALIBRATE = 64;

/* A share of the n keys of this step, at least one row. */
static int32_t rows_of(double share, int64_t n) {
    return (int32_t)fmax(1, round(share * (double)n));
}

static void make_plan(struct subject * subject, const struct attend_flags * flags) {
    const struct capture * capture = subject->capture;
    struct vattn_options options = flags->options;
    const char * reason = NULL;
    options.n_heads = capture->n_heads;
    options.n_kv_heads = capture->n_kv_heads;
    options.head_dim = capture->head_dim;
    options.v_dim = capture->v_dim;
    options.k_type = capture->k_type;
    options.v_type = capture->v_type;
    options.scale = capture->scale;
    options.max_keys = capture->n_keys;
    if (flags->parameters.sink_share > 0)
        options.sink = rows_of(flags->parameters.sink_share, subject->n);
    if (flags->parameters.window_share > 0)
        options.window = rows_of(flags->parameters.window_share, subject->n);
    if (vattn_plan_create(&options, &subject->plan, &reason) != VATTN_STATUS_OK)
        give_up("%s: the library refuses this capture or these flags: %s", capture->path,
                reason ? reason : "no reason");
}

/* Which second moment the contract asks for: the file's; else that of the steps before; else none (identity). */
static const float * choose_second_moment(const struct capture * capture, int32_t step, float ** made) {
    *made = NULL;
    if (capture->q_second_moment != NULL)
        return capture->q_second_moment;
    if (step > 0)
        *made = second_moment_of_steps(capture, step);
    return *made;
}

/* Rows are encoded in ranges that begin at multiples of 64, as the library wants for parallel callers. */
static enum vattn_status encode_rows(struct subject * subject, int threads) {
    const int64_t chunk = 4096, n_chunks = (subject->n + chunk - 1) / chunk;
    int worst = VATTN_STATUS_OK;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) reduction(min : worst)
    for (int64_t i = 0; i < n_chunks; i++) {
        const int64_t begin = i * chunk, end = begin + chunk < subject->n ? begin + chunk : subject->n;
        const int status = vattn_index_encode(subject->index, &subject->kv, begin, end);
        worst = status < worst ? status : worst;
    }
    (void)threads;
    return (enum vattn_status)worst;
}

static void build_index(struct subject * subject, int threads) {
    const struct capture * capture = subject->capture;
    struct vattn_kv early = subject->kv;
    float * made;
    const float * moment = choose_second_moment(capture, subject->step, &made);
    if (capture->calibrate_rows > 0 && capture->calibrate_rows < early.n_keys)
        early.n_keys = capture->calibrate_rows;
    enum vattn_status status = vattn_index_create(subject->plan, subject->n, &subject->index);
    if (status >= 0)
        status = vattn_index_calibrate(subject->index, &early, moment);
    if (status >= 0)
        status = encode_rows(subject, threads);
    free(made);
    if (status < 0)
        give_up("%s: no index of the first %lld rows: %s; 'vattn inspect' checks the file", capture->path,
                (long long)subject->n, vattn_status_name(status));
    subject->index_bytes = vattn_index_bytes(subject->plan, subject->n);
}

static void build_selector(struct subject * subject, const struct attend_flags * flags) {
    const struct capture * capture = subject->capture;
    float * made;
    const float * moment = choose_second_moment(capture, subject->step, &made);
    subject->selector = selector_make(subject->plan, &flags->parameters, &subject->kv, capture->layer, moment,
                                      capture->path);
    free(made);
    if (subject->selector != NULL)
        subject->index_bytes = vattn_selector_bytes(subject->selector);
}

static enum vattn_status call_step(const struct subject * subject, int32_t step, struct caller * caller,
                                   uint64_t nonce, int threads) {
    struct vattn_kv kv = subject->kv;
    kv.n_keys = subject->capture->n[step];
    const struct vattn_input input = {
        .kv = &kv,
        .index = subject->index,
        .selector = subject->selector,
        .state = caller->state,
        .q = capture_query(subject->capture, step),
        .out = caller->out,
        .cert = caller->cert,
        .nonce = nonce,
        .layer = subject->capture->layer,
    };
    return team_attend(subject->plan, &input, caller->work, subject->call_bytes, threads, NULL, &caller->call);
}

/* Let the controller see the steps before, once, in order. */
static void warm_up(struct subject * subject, int32_t steps, int threads) {
    struct caller caller = caller_create(subject);
    const int32_t first = steps > subject->step ? 0 : subject->step - steps;
    for (int32_t step = first; step < subject->step; step++)
        if (subject->capture->n[step] <= subject->n &&
            call_step(subject, step, &caller, WARM_NONCE + (uint64_t)step, threads) < 0)
            give_up("%s: warm-up step %d failed; 'vattn inspect' checks the file", subject->capture->path, step);
    memcpy(subject->frozen, caller.state, subject->state_bytes);
    caller_free(&caller);
}

void subject_prepare(struct subject * subject, const struct capture * capture, int32_t step,
                     const struct attend_flags * flags) {
    memset(subject, 0, sizeof *subject);
    subject->capture = capture;
    subject->step = step;
    subject->n = capture->n[step];
    make_plan(subject, flags);
    subject->kv = capture_view(capture, subject->n);
    if (method_entry_of(flags->options.method)->index == INDEX_CODE && subject->n >= LEAST_ROWS_TO_CALIBRATE)
        build_index(subject, flags->threads);
    build_selector(subject, flags);
    subject->state_bytes = vattn_state_bytes(subject->plan);
    subject->call_bytes = vattn_selector_call_bytes(subject->plan, subject->selector);
    subject->frozen = must_alloc(subject->state_bytes, 1);
    vattn_state_init(subject->plan, subject->frozen);
    if (flags->warm > 0)
        warm_up(subject, flags->warm, flags->threads);
}

void subject_free(struct subject * subject) {
    vattn_index_free(subject->index);
    vattn_selector_free(subject->selector);
    vattn_plan_free(subject->plan);
    free(subject->frozen);
    memset(subject, 0, sizeof *subject);
}

struct caller caller_create(const struct subject * subject) {
    const size_t n_heads = (size_t)subject->capture->n_heads;
    struct caller caller = {
        .work = must_alloc(subject->call_bytes, 1),
        .state = must_alloc(subject->state_bytes, 1),
        .out = must_alloc(n_heads * (size_t)subject->capture->v_dim, sizeof(float)),
        .cert = must_alloc(n_heads, sizeof(struct vattn_certificate)),
    };
    memcpy(caller.state, subject->frozen, subject->state_bytes);
    return caller;
}

void caller_free(struct caller * caller) {
    free(caller->work);
    free(caller->state);
    free(caller->out);
    free(caller->cert);
}

enum vattn_status subject_draw(const struct subject * subject, struct caller * caller, uint64_t r, int threads) {
    memcpy(caller->state, subject->frozen, subject->state_bytes);
    return call_step(subject, subject->step, caller, r, threads);
}

struct reading subject_reading(const struct subject * subject, const struct vattn_certificate * cert) {
    const struct capture * capture = subject->capture;
    const int32_t group = capture->n_heads / capture->n_kv_heads;
    const double row_bytes = (double)capture_row_bytes(capture);
    struct reading reading = {0};
    for (int32_t g = 0; g < capture->n_kv_heads; g++) {
        const struct vattn_certificate * c = &cert[g * group];
        reading.rows_kv_fraction += (double)c->rows_kv / (double)subject->n / capture->n_kv_heads;
        reading.rounds += (double)c->rounds / capture->n_kv_heads;
        reading.bytes += c->bytes;
    }
    reading.bytes_fraction = (double)reading.bytes / (row_bytes * (double)subject->n * capture->n_kv_heads);
    return reading;
}

enum vattn_answer joint_answer(const struct vattn_certificate * cert, int32_t n_heads) {
    enum vattn_answer answer = VATTN_ANSWER_EXACT;
    for (int32_t h = 0; h < n_heads; h++)
        if (cert[h].answer > answer)
            answer = cert[h].answer;
    return answer;
}
