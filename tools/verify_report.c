/* SPDX-License-Identifier: MIT */
#include "verify_report.h"

#include "binomial.h"
#include "complain.h"
#include "json_file.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void * a, const void * b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double * values, int64_t n) {
    qsort(values, (size_t)n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

void verify_add_up(const struct case_result * cases, int64_t n_cases, struct verify_totals * totals) {
    double * slack = must_alloc((size_t)n_cases, sizeof *slack);
    const double per_case = 1.0 / (double)n_cases;
    double q95 = 0;
    int64_t sampled = 0;
    for (int64_t i = 0; i < n_cases; i++) {
        const double draws = (double)cases[i].draws;
        slack[i] = totals->eps / cases[i].error_q95;
        totals->exact_share += per_case * (double)cases[i].exact / draws;
        totals->uncertified_share += per_case * (double)cases[i].uncertified / draws;
        totals->mean_error += per_case * cases[i].mean_error;
        totals->worst_miss_rate = fmax(totals->worst_miss_rate, (double)cases[i].misses / draws);
        totals->worst_beyond_rate = fmax(totals->worst_beyond_rate, (double)cases[i].beyond / draws);
        if (2 * cases[i].exact < cases[i].draws) {
            q95 += cases[i].error_q95;
            sampled++;
        }
        totals->failed += cases[i].failed;
        totals->again += cases[i].draws2 > 0;
    }
    totals->slack = median(slack, n_cases);
    totals->mean_slack = sampled > 0 ? totals->eps / (q95 / (double)sampled) : 0;
    free(slack);
}

void verify_print_limits(const struct verify_limits * limits) {
    printf("test: %lld cases, each may miss with probability %g per draw; false alarm 1e-6 over all of them\n",
           (long long)limits->cases, limits->usual.delta);
    if (limits->joint.delta > 0)
        printf("      all heads of a call together: probability %g, more than %lld, then %lld misses\n",
               limits->joint.delta, (long long)limits->joint.limit1, (long long)limits->joint.limit2);
    if (limits->two_stages)
        printf("      stage 1: %lld draws, more than %lld misses are looked at again; stage 2: %lld fresh draws, more "
               "than "
               "%lld misses fail\n",
               (long long)limits->draws1, (long long)limits->usual.limit1, (long long)limits->draws2,
               (long long)limits->usual.limit2);
    else
        printf("      one stage: %lld draws, more than %lld misses fail\n", (long long)limits->draws1,
               (long long)limits->usual.limit1);
}

void verify_sparkline(const int64_t rank[RANK_BINS], char text[64]) {
    static const char * const blocks[] = {" ", "\u2581", "\u2582", "\u2583", "\u2584",
                                          "\u2585", "\u2586", "\u2587", "\u2588"};
    double total = 0;
    text[0] = 0;
    for (int b = 0; b < RANK_BINS; b++)
        total += (double)rank[b];
    for (int b = 0; b < RANK_BINS; b += 2) { /* the mean is the fourth of eight heights */
        const double height = total > 0 ? 4.0 * (RANK_BINS / 2.0) * (double)(rank[b] + rank[b + 1]) / total : 0;
        strcat(text, blocks[height >= 8 ? 8 : height > 0 && height < 1 ? 1 : (int)(height + 0.5)]);
    }
}

static void name_case(const struct case_result * c, char text[32]) {
    if (c->head >= 0)
        snprintf(text, 32, "head %d", c->head);
    else
        snprintf(text, 32, "%s", c->joint ? "any head" : "all heads");
}

void verify_print_cases(const struct case_result * cases, int32_t n_cases, const struct verify_limits * limits,
                        double eps) {
    for (int32_t i = 0; i < n_cases; i++) {
        const struct case_result * c = &cases[i];
        char who[32], line[64];
        name_case(c, who);
        verify_sparkline(c->rank, line);
        printf("  %-9s misses %5.2f %% (p %.2g), beyond its bound %5.2f %%, slack %5.2f, rows %6.2f %%, exact %5.1f %%, "
               "ranks %s\n",
               who, 100 * (double)c->misses / (double)c->draws,
               binomial_tail(c->draws, limits_of(limits, c)->delta, c->misses - 1),
               100 * (double)c->beyond / (double)c->draws, eps / c->error_q95, 100 * c->rows_kv_fraction,
               100 * (double)c->exact / (double)c->draws, line);
    }
}

void verify_print_step(const char * capture, const struct case_result * cases, int32_t n_cases, double rounds) {
    double rows = 0, error = 0, max_error = 0, exact = 0, uncertified = 0, worst = 0;
    int64_t rank[RANK_BINS] = {0};
    char line[64];
    for (int32_t i = 0; i < n_cases; i++) {
        const double draws = (double)cases[i].draws;
        rows += cases[i].rows_kv_fraction / n_cases;
        error += cases[i].mean_error / n_cases;
        max_error = fmax(max_error, cases[i].max_error);
        exact += (double)cases[i].exact / draws / n_cases;
        uncertified += (double)cases[i].uncertified / draws / n_cases;
        worst = fmax(worst, (double)cases[i].misses / draws);
        for (int b = 0; b < RANK_BINS; b++)
            rank[b] += cases[i].rank[b];
    }
    verify_sparkline(rank, line);
    printf("%s step %d: n %lld, rows %.2f %%, exact %.1f %%, uncertified %.1f %%, error mean %.4f max %.4f, looks "
           "%.1f, worst case misses %.2f %%, ranks %s\n",
           capture, cases[0].step, (long long)cases[0].n, 100 * rows, 100 * exact, 100 * uncertified, error, max_error,
           rounds, 100 * worst, line);
    fflush(stdout);
}

static void print_failure(const char * capture, const struct case_result * c, const struct verify_limits * limits) {
    const bool second = c->draws2 > 0;
    const long long misses = second ? c->misses2 : c->misses, draws = second ? c->draws2 : c->draws;
    const struct case_limit * limit = limits_of(limits, c);
    char who[32];
    name_case(c, who);
    if (c->repeats)
        printf("FAILED %s step %d %s: %lld draws that left rows out gave only %lld different errors: they are no independent "
               "draws\n",
               capture, c->step, who, (long long)c->partly, (long long)c->different);
    else
        printf("FAILED %s step %d %s: %lld misses in %lld draws (%.2f %%), limit %lld, max error %.4f\n", capture,
               c->step, who, misses, draws, 100.0 * (double)misses / (double)draws,
               (long long)(second ? limit->limit2 : limit->limit1), c->max_error);
}

void verify_print_failures(const struct capture * captures, const struct case_result * cases, int64_t n_cases,
                           const struct verify_limits * limits) {
    for (int64_t i = 0; i < n_cases; i++)
        if (cases[i].failed)
            print_failure(captures[cases[i].capture].name, &cases[i], limits);
}

void verify_print_summary(const struct vattn_options * options, const struct verify_limits * limits,
                          const struct verify_totals * totals) {
    printf(
        "verify %s: %s eps %g delta %g scope %s: %lld of %lld cases kept the promise, worst case missed %.2f %% of "
        "%lld "
        "draws, %lld drawn again; rows %.2f %%, bytes %.2f %%, index %.1f bytes/token, exact %.2f %%, uncertified %.2f "
        "%%, mean error %.4f, slack %.2f (mean %.2f), beyond the stated bound at worst %.2f %%, looks %.2f; %.0f s\n",
        totals->failed ? "FAIL" : "PASS", vattn_method_name(options->method), totals->eps, options->delta,
        vattn_scope_name(options->scope), (long long)(limits->cases - totals->failed), (long long)limits->cases,
        100 * totals->worst_miss_rate, (long long)limits->draws1, (long long)totals->again,
        100 * totals->rows_kv_fraction, 100 * totals->bytes_fraction, totals->index_bytes_per_token,
        100 * totals->exact_share, 100 * totals->uncertified_share, totals->mean_error, totals->slack,
        totals->mean_slack, 100 * totals->worst_beyond_rate, totals->rounds,
        totals->seconds);
}

static void add_limits(cJSON * root, const struct verify_limits * limits) {
    cJSON * object = cJSON_AddObjectToObject(root, "limits");
    cJSON * stage = cJSON_AddObjectToObject(object, "stage1");
    cJSON_AddNumberToObject(object, "cases", (double)limits->cases);
    cJSON_AddNumberToObject(object, "case_delta", limits->usual.delta);
    if (limits->joint.delta > 0) {
        cJSON * joint = cJSON_AddObjectToObject(object, "any_head");
        cJSON_AddNumberToObject(joint, "delta", limits->joint.delta);
        cJSON_AddNumberToObject(joint, "stage1_misses", (double)limits->joint.limit1);
        cJSON_AddNumberToObject(joint, "stage2_misses", (double)limits->joint.limit2);
    }
    cJSON_AddNumberToObject(object, "false_alarm", 1e-6);
    cJSON_AddNumberToObject(stage, "draws", (double)limits->draws1);
    cJSON_AddNumberToObject(stage, "misses", (double)limits->usual.limit1);
    if (!limits->two_stages) {
        cJSON_AddNullToObject(object, "stage2");
        return;
    }
    stage = cJSON_AddObjectToObject(object, "stage2");
    cJSON_AddNumberToObject(stage, "draws", (double)limits->draws2);
    cJSON_AddNumberToObject(stage, "misses", (double)limits->usual.limit2);
}

/* JSON has no infinity. */
static void add_ratio(cJSON * item, const char * key, double above, double below) {
    if (below > 0)
        cJSON_AddNumberToObject(item, key, above / below);
    else
        cJSON_AddNullToObject(item, key);
}

static void add_ranks(cJSON * item, const struct case_result * c) {
    cJSON * bins = cJSON_AddArrayToObject(item, "rank_histogram");
    for (int b = 0; b < RANK_BINS; b++)
        cJSON_AddItemToArray(bins, cJSON_CreateNumber((double)c->rank[b]));
}

static void add_case(cJSON * list, const struct capture * captures, const struct case_result * c,
                     const struct verify_limits * limits, double eps) {
    cJSON * item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "capture", captures[c->capture].path);
    cJSON_AddNumberToObject(item, "step", c->step);
    if (c->head >= 0)
        cJSON_AddNumberToObject(item, "head", c->head);
    else
        cJSON_AddNullToObject(item, "head");
    cJSON_AddNumberToObject(item, "n", (double)c->n);
    cJSON_AddNumberToObject(item, "misses", (double)c->misses);
    cJSON_AddNumberToObject(item, "uncertified", (double)c->uncertified);
    cJSON_AddNumberToObject(item, "exact", (double)c->exact);
    cJSON_AddNumberToObject(item, "rows_kv_fraction", c->rows_kv_fraction);
    cJSON_AddNumberToObject(item, "mean_error", c->mean_error);
    cJSON_AddNumberToObject(item, "max_error", c->max_error);
    if (c->joint)
        cJSON_AddBoolToObject(item, "any_head", true);
    cJSON_AddNumberToObject(item, "p_value",
                            binomial_tail(c->draws, limits_of(limits, c)->delta, c->misses - 1));
    add_ratio(item, "slack", eps, c->error_q95);
    cJSON_AddNumberToObject(item, "beyond_bound", (double)c->beyond);
    cJSON_AddNumberToObject(item, "different_errors", (double)c->different);
    if (c->head >= 0) {
        cJSON_AddNumberToObject(item, "denominator_misses", (double)c->d_misses);
        cJSON_AddNumberToObject(item, "denominator_bias", c->d_bias);
        cJSON_AddNumberToObject(item, "numerator_misses", (double)c->n_misses);
        cJSON_AddNumberToObject(item, "tail_mass", c->tail);
    }
    add_ranks(item, c);
    if (c->draws2 > 0) {
        cJSON_AddNumberToObject(item, "stage2_draws", (double)c->draws2);
        cJSON_AddNumberToObject(item, "stage2_misses", (double)c->misses2);
    }
    cJSON_AddBoolToObject(item, "pass", !c->failed);
    cJSON_AddItemToArray(list, item);
}

bool verify_write_json(const char * path, const struct vattn_options * options, const struct capture * captures,
                       const struct case_result * cases, int64_t n_cases, const struct verify_limits * limits,
                       const struct verify_totals * totals, char * reason, size_t reason_bytes) {
    cJSON * root = cJSON_CreateObject();
    cJSON * list;
    cJSON_AddBoolToObject(root, "pass", totals->failed == 0);
    cJSON_AddStringToObject(root, "method", vattn_method_name(options->method));
    cJSON_AddNumberToObject(root, "eps", totals->eps);
    cJSON_AddNumberToObject(root, "delta", options->delta);
    cJSON_AddStringToObject(root, "scope", vattn_scope_name(options->scope));
    cJSON_AddNumberToObject(root, "draws", (double)limits->draws1);
    add_limits(root, limits);
    cJSON_AddNumberToObject(root, "rows_kv_fraction", totals->rows_kv_fraction);
    cJSON_AddNumberToObject(root, "bytes_fraction", totals->bytes_fraction);
    cJSON_AddNumberToObject(root, "index_bytes_per_token", totals->index_bytes_per_token);
    cJSON_AddNumberToObject(root, "slack", totals->slack);
    cJSON_AddNumberToObject(root, "mean_slack", totals->mean_slack);
    cJSON_AddNumberToObject(root, "exact_share", totals->exact_share);
    cJSON_AddNumberToObject(root, "uncertified_share", totals->uncertified_share);
    cJSON_AddNumberToObject(root, "worst_miss_rate", totals->worst_miss_rate);
    cJSON_AddNumberToObject(root, "worst_beyond_rate", totals->worst_beyond_rate);
    cJSON_AddNumberToObject(root, "drawn_again", (double)totals->again);
    cJSON_AddNumberToObject(root, "rounds_mean", totals->rounds);
    cJSON_AddNumberToObject(root, "seed", (double)options->seed);
    list = cJSON_AddArrayToObject(root, "cases");
    for (int64_t i = 0; i < n_cases; i++)
        add_case(list, captures, &cases[i], limits, totals->eps);
    return json_write(path, root, reason, reason_bytes);
}
