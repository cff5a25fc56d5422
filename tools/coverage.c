/* SPDX-License-Identifier: MIT */
#include "coverage.h"

#include "complain.h"
#include "truth.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct draw_table table_create(const struct subject * subject, bool layer, int64_t draws) {
    struct draw_table table = {
        .draws = draws,
        .n_cases = layer ? 1 : subject->capture->n_heads,
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

static void record(struct draw_table * table, int64_t at, const struct subject * subject, const struct caller * caller,
                   const double * truth, bool layer) {
    const struct capture * capture = subject->capture;
    const size_t v_dim = (size_t)capture->v_dim;
    const int32_t group = capture->n_heads / capture->n_kv_heads;
    struct outcome * outcome = table->outcome + (size_t)at * (size_t)table->n_cases;
    table->reading[at] = subject_reading(subject, caller->cert);
    for (int32_t g = 0; g < table->n_kv_heads; g++)
        table->rows_kv_fraction[at * table->n_kv_heads + g] =
            (float)caller->cert[g * group].rows_kv / (float)subject->n;
    if (layer) {
        outcome->error = (float)truth_relative_error(caller->out, truth, (int64_t)capture->n_heads * capture->v_dim);
        outcome->answer = (uint8_t)joint_answer(caller->cert, capture->n_heads);
        return;
    }
    for (size_t h = 0; h < (size_t)capture->n_heads; h++) {
        outcome[h].error = (float)truth_relative_error(caller->out + h * v_dim, truth + h * v_dim, capture->v_dim);
        outcome[h].answer = (uint8_t)caller->cert[h].answer;
    }
}

struct draw_table draw_table_run(const struct subject * subject, const double * truth, bool layer, int64_t first,
                                 int64_t draws, int threads, struct progress * progress) {
    struct draw_table table = table_create(subject, layer, draws);
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
                record(&table, i, subject, &caller, truth, layer);
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

/* The least error that at least 95 % of the draws do not exceed. */
static double quantile95(const struct draw_table * table, int32_t number) {
    const int64_t rank = (int64_t)ceil(0.95 * (double)table->draws) - 1;
    float * errors = must_alloc((size_t)table->draws, sizeof *errors);
    double value;
    for (int64_t r = 0; r < table->draws; r++)
        errors[r] = table->outcome[r * table->n_cases + number].error;
    qsort(errors, (size_t)table->draws, sizeof *errors, by_value);
    value = (double)errors[rank];
    free(errors);
    return value;
}

struct case_result case_condense(const struct draw_table * table, int32_t number, double eps) {
    const bool one_head = table->n_cases > 1;
    const int32_t group = one_head ? table->n_cases / table->n_kv_heads : 0;
    struct case_result result = {.draws = table->draws, .error_q95 = quantile95(table, number)};
    for (int64_t r = 0; r < table->draws; r++) {
        const struct outcome * outcome = &table->outcome[r * table->n_cases + number];
        const double rows = one_head ? (double)table->rows_kv_fraction[r * table->n_kv_heads + number / group]
                                     : table->reading[r].rows_kv_fraction;
        result.misses += !((double)outcome->error <= eps);
        result.uncertified += outcome->answer == VATTN_ANSWER_UNCERTIFIED;
        result.exact += outcome->answer == VATTN_ANSWER_EXACT;
        result.mean_error += (double)outcome->error / (double)table->draws;
        result.max_error = fmax(result.max_error, (double)outcome->error);
        result.rows_kv_fraction += rows / (double)table->draws;
    }
    return result;
}
