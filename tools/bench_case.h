/* SPDX-License-Identifier: MIT
 * One shape on one number of threads: layers in turn, methods and plain streaming interleaved in the same run. */
#ifndef VATTN_TOOLS_BENCH_CASE_H
#define VATTN_TOOLS_BENCH_CASE_H

#include "synthetic.h"
#include "team.h"

enum { BENCH_MAX_METHODS = 8 };

struct bench_rig {
    struct synthetic_shape shape;
    struct vattn_options options; /* the user's parameters; shapes filled in */
    int n_layers;                 /* enough to defeat the last-level cache */
    struct synthetic_layer * layers;
    struct vattn_plan * index_plan;
    struct vattn_index ** indexes; /* [n_layers], NULL if no method wants them */
    double build_ms;               /* calibrate and encode one layer */
    size_t index_bytes;            /* of one layer */
};

/* The figures of one method. */
struct bench_result {
    enum vattn_method method;
    double eps;
    double ms_min, ms_median, rows_kv_fraction, rows_k_fraction, looks, bytes, certified_share;
    double stage_ms[VATTN_STAGE_COUNT]; /* mean per call */
    const char * tier;
};

/* index_method: whose index is built; EXACT = none.  n_layers 0: as many as it takes to defeat the cache. */
struct bench_rig bench_rig_create(const struct synthetic_shape * shape, const struct vattn_options * options,
                                  enum vattn_method index_method, int n_layers, int threads);
void bench_rig_free(struct bench_rig * rig);

/* The eps at which the sparse method reads about `density` of the rows of this rig. */
double bench_find_eps(const struct bench_rig * rig, double density, int threads);

/* Time every method `repeat` times over all layers; results [n_methods]; returns the least time of streaming in ms. */
double bench_measure(const struct bench_rig * rig, const enum vattn_method * methods, int n_methods, double eps,
                     int repeat, int threads, struct bench_result * results);

#endif
