/* SPDX-License-Identifier: MIT
 * What `vattn verify` says at the end: lines for people, JSON for programs. */
#ifndef VATTN_TOOLS_VERIFY_REPORT_H
#define VATTN_TOOLS_VERIFY_REPORT_H

#include "coverage.h"

/* The test of one invocation: how many draws and how many misses are too many. */
struct verify_limits {
    int64_t cases;
    bool two_stages;
    int64_t draws1, draws2; /* stage 1 (or the only one), stage 2 */
    struct case_limit {
        double delta;           /* probability of a miss that a good case may have */
        int64_t limit1, limit2; /* misses */
    } usual, joint;             /* of a case; of all heads of a call together in scope token */
};

static inline const struct case_limit * limits_of(const struct verify_limits * limits, const struct case_result * c) {
    return c->joint ? &limits->joint : &limits->usual;
}

struct verify_totals {
    double eps;                                                             /* what misses are judged against */
    double rows_kv_fraction, bytes_fraction, index_bytes_per_token, rounds; /* means over captures, steps and draws */
    double exact_share, uncertified_share, slack, mean_error, worst_miss_rate, worst_beyond_rate;
    double mean_slack; /* eps / mean of the cases' 95 % quantiles, over cases mostly answered from samples */
    int64_t failed, again;
    double seconds;
};

/* The totals that come from the cases alone (the others are left as they are). */
void verify_add_up(const struct case_result * cases, int64_t n_cases, struct verify_totals * totals);

void verify_print_limits(const struct verify_limits * limits);
/* Twenty bins as ten blocks of rising height, relative to their mean: a flat line is a claim that is exact. */
void verify_sparkline(const int64_t rank[RANK_BINS], char text[64]);

/* One line for every case of a step. */
void verify_print_cases(const struct case_result * cases, int32_t n_cases, const struct verify_limits * limits,
                        double eps);
/* One line for all heads of a step. */
void verify_print_step(const char * capture, const struct case_result * cases, int32_t n_cases, double rounds);
void verify_print_failures(const struct capture * captures, const struct case_result * cases, int64_t n_cases,
                           const struct verify_limits * limits);
void verify_print_summary(const struct vattn_options * options, const struct verify_limits * limits,
                          const struct verify_totals * totals);

/* False and a reason if the file cannot be written. */
bool verify_write_json(const char * path, const struct vattn_options * options, const struct capture * captures,
                       const struct case_result * cases, int64_t n_cases, const struct verify_limits * limits,
                       const struct verify_totals * totals, char * reason, size_t reason_bytes);

#endif
