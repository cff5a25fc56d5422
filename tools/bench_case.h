/* SPDX-License-Identifier: MIT
 * One shape on one number of threads: layers in turn, methods and plain streaming interleaved in the same run. */
#ifndef VATTN_TOOLS_BENCH_CASE_H
#define VATTN_TOOLS_BENCH_CASE_H

#include "peer.h"
#include "synthetic.h"
#include "team.h"

enum { BENCH_MAX_METHODS = 8, BENCH_MAX_RESULTS = BENCH_MAX_METHODS + PEER_MOST };

struct bench_rig {
    struct synthetic_shape shape;
    struct vattn_options options; /* the user's parameters; shapes filled in */
    int n_layers;                 /* enough to defeat the last-level cache */
    struct synthetic_layer * layers;
    struct vattn_plan * index_plan;
    struct vattn_index ** indexes; /* [n_layers], NULL if no method wants them */
    double build_ms;               /* calibrate and encode one layer */
    size_t index_bytes;            /* of one layer */
    struct peer peers[PEER_MOST];
    double peer_errors[PEER_MOST]; /* of their answers for the first layer, relative */
    int n_peers;
};

/* The figures of one method, or of a peer. */
struct bench_result {
    const char * name;
    bool is_peer; /* of the rest it has ms_min and ms_median, bytes, and a share of rows, which is 1 */
    double error;
    enum vattn_method method;
    double eps;
    double ms_min, ms_median, rows_kv_fraction, rows_k_fraction, looks, bytes, certified_share;
    double stage_ms[VATTN_STAGE_COUNT]; /* mean per call */
    const char * tier;
};

/* What memory gives, GB/s: K and V in order, and rows of K by themselves, one in BENCH_ONE_IN. */
enum { BENCH_ONE_IN = 24 };
struct bench_rates {
    double stream_ms, stream, gather;
};

/* index_method: whose index is built; EXACT = none.  n_layers 0: as many as it takes to defeat the cache.  peers: NAME=COMMAND each;
 * what they answer for the first layer has been compared with our exact attention when this returns. */
struct bench_rig bench_rig_create(const struct synthetic_shape * shape, const struct vattn_options * options,
                                  enum vattn_method index_method, int n_layers, int threads, char * const * peers,
                                  int n_peers);
void bench_rig_free(struct bench_rig * rig);

/* The eps at which the sparse method reads about `density` of the rows of this rig. */
double bench_find_eps(const struct bench_rig * rig, double density, int threads);

/* Time every method and every peer `repeat` times over all layers; results [n_methods + n_peers]. */
struct bench_rates bench_measure(struct bench_rig * rig, const enum vattn_method * methods, int n_methods, double eps,
                                 int repeat, int threads, struct bench_result * results);

#endif
