/* SPDX-License-Identifier: MIT */
#include "coverage.h"

#include "complain.h"
#include "f_tail.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <vattn_experimental.h>

int32_t cases_of_call(const struct capture * capture, enum vattn_scope scope) {
    return scope == VATTN_SCOPE_LAYER ? 1 : capture->n_heads + (scope == VATTN_SCOPE_TOKEN);
}

static struct draw_table table_create(const struct subject * subject, enum vattn_scope scope, int64_t draws) {
    struct draw_table table = {
        .draws = draws,
        .n_keys = subject->n,
        .n_cases = cases_of_call(subject->capture, scope),
        .n_heads = scope == VATTN_SCOPE_LAYER ? 0 : subject->capture->n_heads,
        .n_kv_heads = subject->capture->n_kv_heads,
    };
    table.outcome = must_alloc((size_t)draws * (size_t)table.n_cases, sizeof *table.outcome);
    table.reading = must_alloc((size_t)draws, sizeof *table.reading);
    table.rows_kv_fraction = must_alloc((size_t)draws * (size_t)table.n_kv_heads, sizeof(float));
    return table;
}

void draw_table_free(struct draw_table * table) {
    free(table->outcome);
    free(table->reading);
    free(table->rows_kv_fraction);
    memset(table, 0, sizeof *table);
}

static double length(const double * x, size_t n) {
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += x[i] * x[i];
    return sqrt(square);
}

/* Where the error of a draw lies in the distribution that its certificate claims; -1 where it claims none. */
static float rank_of(const struct caller * caller, int32_t head, double error) {
    struct vattn_claim e;
    const double rounding = 1e-5;
    if (!vattn_call_claim(caller->call, head, &e))
        return -1;
    if (error <= rounding * e.norm)
        return e.variance > 0 ? (float)f_tail(error * error / e.variance, e.nu, 2 * e.neff) : 1;
    return (float)f_tail(pow(fmax(0, error - e.bias), 2) / e.variance, e.nu, 2 * e.neff);
}

/* answer and truth: of one head, or with head -1 of all heads. */
static struct outcome outcome_of(const struct caller * caller, int32_t head, enum vattn_answer answer,
                                 const float * out, const double * truth, size_t n) {
    const double error = truth_relative_error(out, 1, truth, (int64_t)n);
    const struct vattn_certificate * cert = &caller->cert[head < 0 ? 0 : head];
    return (struct outcome){
        .error = (float)error,
        .rank = rank_of(caller, head, error * length(truth, n)),
        .answer = (uint8_t)answer,
        .partly = cert->rows_kv < cert->n_keys,
        .beyond = answer == VATTN_ANSWER_CERTIFIED && !(error <= (double)cert->bound),
    };
}

/* What the paper's methods promise: D of one head, and N = D o. */
static void add_parts(struct outcome * outcome, const struct caller * caller, int32_t head, const float * out,
                      const double * o, double log_d, size_t n) {
    double estimate;
    if (!vattn_call_log_denominator(caller->call, head, &estimate))
        return;
    outcome->d_error = (float)expm1(estimate - log_d);
    outcome->n_error = (float)truth_relative_error(out, exp(estimate - log_d), o, (int64_t)n);
}

/* All heads together: the largest error. */
static struct outcome worst_of(const struct outcome * outcome, int32_t n_heads, enum vattn_answer answer) {
    struct outcome worst = {.rank = -1, .answer = (uint8_t)answer};
    for (int32_t h = 0; h < n_heads; h++) {
        worst.error = !(outcome[h].error <= worst.error) ? outcome[h].error : worst.error;
        worst.beyond |= outcome[h].beyond;
        worst.partly |= outcome[h].partly;
    }
    return worst;
}

static void record(struct draw_table * table, int64_t at, const struct subject * subject, const struct caller * caller,
                   const struct truth * truth) {
    const struct capture * capture = subject->capture;
    const size_t v_dim = (size_t)capture->v_dim;
    const int32_t group = capture->n_heads / capture->n_kv_heads;
    const enum vattn_answer joint = joint_answer(caller->cert, capture->n_heads);
    struct outcome * outcome = table->outcome + (size_t)at * (size_t)table->n_cases;
    table->reading[at] = subject_reading(subject, caller->cert);
    for (int32_t g = 0; g < table->n_kv_heads; g++)
        table->rows_kv_fraction[at * table->n_kv_heads + g] =
            (float)caller->cert[g * group].rows_kv / (float)subject->n;
    for (int32_t h = 0; h < table->n_heads; h++) {
        const float * out = caller->out + (size_t)h * v_dim;
        const double * o = truth->out + (size_t)h * v_dim;
        outcome[h] = outcome_of(caller, h, caller->cert[h].answer, out, o, v_dim);
        add_parts(&outcome[h], caller, h, out, o, truth->log_d[h], v_dim);
    }
    if (table->n_heads == 0)
        outcome[0] = outcome_of(caller, -1, joint, caller->out, truth->out, (size_t)capture->n_heads * v_dim);
    else if (table->n_cases > table->n_heads)
        outcome[table->n_heads] = worst_of(outcome, table->n_heads, joint);
}

struct draw_table draw_table_run(const struct subject * subject, const struct truth * truth, enum vattn_scope scope,
                                 int64_t first, int64_t draws, int threads, struct progress * progress) {
    struct draw_table table = table_create(subject, scope, draws);
    atomic_int trouble = VATTN_STATUS_OK;
#pragma omp parallel num_threads(threads)
    {
        struct caller caller = caller_create(subject);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < draws; i++) {
            const enum vattn_status status = subject_draw(subject, &caller, (uint64_t)(first + i), 1);
            if (status < 0)
                atomic_store(&trouble, (int)status);
            else
                record(&table, i, subject, &caller, truth);
            progress_add(progress, 1, omp_get_thread_num() == 0);
        }
        caller_free(&caller);
    }
    (void)threads;
    if (atomic_load(&trouble) < 0)
        give_up("%s: step %d cannot be attended: %s; 'vattn inspect' checks the file", subject->capture->path,
                subject->step, vattn_status_name((enum vattn_status)atomic_load(&trouble)));
    return table;
}

static int by_value(const void * a, const void * b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Errors of the draws that left rows out (or of all draws), sorted; returns how many. */
static int64_t sorted_errors(const struct draw_table * table, int32_t number, bool sampled, float * errors) {
    int64_t n = 0;
    for (int64_t r = 0; r < table->draws; r++) {
        const struct outcome * outcome = &table->outcome[r * table->n_cases + number];
        if (!sampled || (outcome->answer == VATTN_ANSWER_CERTIFIED && outcome->partly))
            errors[n++] = outcome->error;
    }
    qsort(errors, (size_t)n, sizeof *errors, by_value);
    return n;
}

/* The least error that at least 95 % of the draws do not exceed; how many different ones samples gave. */
static void condense_errors(const struct draw_table * table, int32_t number, struct case_result * result) {
    const int64_t rank = (int64_t)ceil(0.95 * (double)table->draws) - 1;
    const float rounding = 1e-5f;
    float * errors = must_alloc((size_t)table->draws, sizeof *errors);
    sorted_errors(table, number, false, errors);
    result->error_q95 = (double)errors[rank];
    const int64_t sampled = result->partly = sorted_errors(table, number, true, errors);
    for (int64_t i = 0; i < sampled; i++)
        result->different += i == 0 || errors[i] != errors[i - 1];
    /* a handful of keys may leave few samples to draw; thousands do not */
    const int64_t least = table->n_keys < 1000 ? 1 : sampled / 20;
    result->repeats = sampled >= 50 && result->different <= least && errors[sampled - 1] > rounding;
    free(errors);
}

struct case_result case_condense(const struct draw_table * table, int32_t number, double eps) {
    const bool one_head = number < table->n_heads;
    const int32_t group = one_head ? table->n_heads / table->n_kv_heads : 0;
    struct case_result result = {.draws = table->draws};
    condense_errors(table, number, &result);
    for (int64_t r = 0; r < table->draws; r++) {
        const struct outcome * outcome = &table->outcome[r * table->n_cases + number];
        const double rows = one_head ? (double)table->rows_kv_fraction[r * table->n_kv_heads + number / group]
                                     : table->reading[r].rows_kv_fraction;
        result.misses += !((double)outcome->error <= eps);
        result.uncertified += outcome->answer == VATTN_ANSWER_UNCERTIFIED;
        result.exact += outcome->answer == VATTN_ANSWER_EXACT;
        result.beyond += outcome->beyond;
        result.d_misses += one_head && !(fabs((double)outcome->d_error) <= eps);
        result.n_misses += one_head && !((double)outcome->n_error <= eps);
        result.d_bias += (double)outcome->d_error / (double)table->draws;
        if (outcome->rank >= 0) {
            const int bin = (int)(outcome->rank * RANK_BINS);
            result.rank[bin < RANK_BINS ? bin : RANK_BINS - 1]++;
            result.ranked++;
        }
        result.mean_error += (double)outcome->error / (double)table->draws;
        result.max_error = fmax(result.max_error, (double)outcome->error);
        result.rows_kv_fraction += rows / (double)table->draws;
    }
    return result;
}
