/* SPDX-License-Identifier: MIT */
#include "bench_case.h"

#include "complain.h"
#include "machine.h"
#include "progress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CACHE_FACTOR = 6, MAX_LAYERS = 1024, WARM_CALLS = 4 };

#define PEER_ERROR 0.5

static struct vattn_plan * must_plan(const struct vattn_options * options, enum vattn_method method, double eps) {
    struct vattn_options o = *options;
    struct vattn_plan * plan = NULL;
    const char * reason = NULL;
    o.method = method;
    o.eps = eps;
    if (vattn_plan_create(&o, &plan, &reason) != VATTN_STATUS_OK)
        give_up("the library refuses these flags: %s; change --heads, --kv-heads, --head-dim or --type",
                reason ? reason : "no reason");
    return plan;
}

/* A peer has a copy of every layer. */
static int choose_layers(const struct synthetic_shape * shape, int n_peers) {
    const double layer = (double)synthetic_layer_bytes(shape),
                 room = 0.6 * (double)machine_available_bytes() / (1 + n_peers);
    double wanted = ceil(CACHE_FACTOR * (double)machine_llc_bytes() / layer);
    if (2 * layer > room)
        give_up("--keys %lld: two layers of %.1f GB do not fit in memory; lower --keys or --kv-heads",
                (long long)shape->n_keys, layer * 1e-9);
    wanted = fmin(fmax(wanted, 3), MAX_LAYERS);
    return (int)fmin(wanted, floor(room / layer));
}

static struct vattn_index * build_index(const struct bench_rig * rig, const struct vattn_kv * kv,
                                        const float * moment) {
    struct vattn_index * index = NULL;
    enum vattn_status status = vattn_index_create(rig->index_plan, kv->n_keys, &index);
    if (status >= 0)
        status = vattn_index_calibrate(index, kv, moment);
    if (status >= 0)
        status = vattn_index_encode(index, kv, 0, kv->n_keys);
    if (status < 0)
        give_up("no index of the synthetic keys: %s; use --keys 64 or more", vattn_status_name(status));
    return index;
}

static void build_indexes(struct bench_rig * rig) {
    float * moment = synthetic_second_moment(&rig->shape);
    double started = seconds_now();
    rig->indexes = must_alloc((size_t)rig->n_layers, sizeof(struct vattn_index *));
    for (int l = 0; l < rig->n_layers; l++)
        rig->indexes[l] = build_index(rig, &rig->layers[l].kv, moment);
    rig->build_ms = 1e3 * (seconds_now() - started) / rig->n_layers;
    rig->index_bytes = vattn_index_bytes(rig->index_plan, rig->shape.n_keys);
    free(moment);
}

/* One method at work: a plan, scratch, and a controller state per layer, as in a real decode. */
struct worker {
    const struct bench_rig * rig;
    struct vattn_plan * plan;
    void * work;
    void ** states; /* [n_layers] */
    float * out;
    struct vattn_certificate * cert;
    uint64_t nonce;
    struct stage_clock clock;
    double *ms, rows, keys, looks, bytes, certified;
    int n_samples;
};

static struct worker worker_create(const struct bench_rig * rig, enum vattn_method method, double eps, int samples) {
    const size_t n_heads = (size_t)rig->shape.n_heads;
    struct worker worker = {.rig = rig, .plan = must_plan(&rig->options, method, eps)};
    worker.work = must_alloc(vattn_call_bytes(worker.plan), 1);
    worker.states = must_alloc((size_t)rig->n_layers, sizeof(void *));
    for (int l = 0; l < rig->n_layers; l++) {
        worker.states[l] = must_alloc(vattn_state_bytes(worker.plan), 1);
        vattn_state_init(worker.plan, worker.states[l]);
    }
    worker.out = must_alloc(n_heads * (size_t)rig->shape.head_dim, sizeof(float));
    worker.cert = must_alloc(n_heads, sizeof *worker.cert);
    worker.ms = must_alloc((size_t)samples, sizeof(double));
    return worker;
}

static void worker_free(struct worker * worker) {
    for (int l = 0; l < worker->rig->n_layers; l++)
        free(worker->states[l]);
    free(worker->states);
    free(worker->work);
    free(worker->out);
    free(worker->cert);
    free(worker->ms);
    vattn_plan_free(worker->plan);
}

/* One call on one layer; returns its seconds. */
static double work_once(struct worker * worker, int layer, int threads, struct stage_clock * clock) {
    const struct bench_rig * rig = worker->rig;
    const struct vattn_input input = {
        .kv = &rig->layers[layer].kv,
        .index = rig->indexes ? rig->indexes[layer] : NULL,
        .state = worker->states[layer],
        .q = rig->layers[layer].q,
        .out = worker->out,
        .cert = worker->cert,
        .nonce = worker->nonce++,
        .layer = layer,
    };
    const double started = seconds_now();
    const enum vattn_status status =
        team_attend(worker->plan, &input, worker->work, vattn_call_bytes(worker->plan), threads, clock, NULL);
    if (status < 0)
        give_up("a call on synthetic keys failed: %s; please report this", vattn_status_name(status));
    return seconds_now() - started;
}

/* Mean over KV heads of the share of rows read by the last call. */
static double rows_read(const struct worker * worker) {
    const struct synthetic_shape * shape = &worker->rig->shape;
    const int32_t group = shape->n_heads / shape->n_kv_heads;
    double rows = 0;
    for (int32_t g = 0; g < shape->n_kv_heads; g++)
        rows += (double)worker->cert[g * group].rows_kv / (double)shape->n_keys / shape->n_kv_heads;
    return rows;
}

static void take_sample(struct worker * worker, double seconds) {
    const struct synthetic_shape * shape = &worker->rig->shape;
    const int32_t group = shape->n_heads / shape->n_kv_heads;
    worker->ms[worker->n_samples++] = 1e3 * seconds;
    worker->rows += rows_read(worker);
    for (int32_t g = 0; g < shape->n_kv_heads; g++) {
        const struct vattn_certificate * c = &worker->cert[g * group];
        worker->bytes += (double)c->bytes;
        worker->keys += (double)c->rows_k / (double)shape->n_keys / shape->n_kv_heads;
        worker->looks += (double)c->rounds / shape->n_kv_heads;
    }
    for (int32_t h = 0; h < shape->n_heads; h++)
        worker->certified += (double)(worker->cert[h].answer == VATTN_ANSWER_CERTIFIED) / shape->n_heads;
}

/*
 * The relative distance of a peer's answer for the first layer from the exact one.  Peers may round as they like (sums in f16
 * lose a good deal over many keys), and it is reported; what is half of the answer away is another computation.
 */
static double error_of(const struct bench_rig * rig, struct peer * peer, int threads) {
    struct worker worker = worker_create(rig, VATTN_METHOD_EXACT, 0.05, 1);
    const size_t n = (size_t)rig->shape.n_heads * (size_t)rig->shape.head_dim;
    float * out = must_alloc(n, sizeof *out);
    double off = 0, all = 0;
    work_once(&worker, 0, threads, NULL);
    peer_answer(peer, 0, threads, out, n);
    for (size_t i = 0; i < n; i++) {
        off += ((double)out[i] - (double)worker.out[i]) * ((double)out[i] - (double)worker.out[i]);
        all += (double)worker.out[i] * (double)worker.out[i];
    }
    if (!(sqrt(off / all) < PEER_ERROR))
        give_up("--peer %s: its answer is %.2g from the exact one, relative; more than %g is another computation",
                peer->name, sqrt(off / all), PEER_ERROR);
    free(out);
    worker_free(&worker);
    return sqrt(off / all);
}

static void start_peers(struct bench_rig * rig, char * const * texts, int n) {
    const int file = peer_write_layers(&rig->shape, rig->layers, rig->n_layers);
    rig->n_peers = n;
    for (int p = 0; p < n; p++)
        rig->peers[p] = peer_start(texts[p], &rig->shape, rig->n_layers, file);
    for (int p = 0; p < n; p++)
        peer_await(&rig->peers[p]);
    close(file);
}

struct bench_rig bench_rig_create(const struct synthetic_shape * shape, const struct vattn_options * options,
                                  enum vattn_method index_method, int n_layers, int threads, char * const * peers,
                                  int n_peers) {
    struct bench_rig rig = {.shape = *shape, .options = *options};
    rig.options.n_heads = shape->n_heads;
    rig.options.n_kv_heads = shape->n_kv_heads;
    rig.options.head_dim = shape->head_dim;
    rig.options.k_type = rig.options.v_type = shape->type;
    rig.options.max_keys = shape->n_keys;
    rig.index_plan = must_plan(&rig.options, index_method, 0.05); /* bad shapes end here, before the work */
    rig.n_layers = n_layers > 0 ? n_layers : choose_layers(shape, n_peers);
    rig.layers = must_alloc((size_t)rig.n_layers, sizeof *rig.layers);
    for (int l = 0; l < rig.n_layers; l++)
        rig.layers[l] = synthetic_layer_create(shape, (uint64_t)l + 1, threads);
    if (n_peers > 0)
        start_peers(&rig, peers, n_peers);
    if (index_method != VATTN_METHOD_EXACT)
        build_indexes(&rig);
    for (int p = 0; p < n_peers; p++)
        rig.peer_errors[p] = error_of(&rig, &rig.peers[p], threads);
    return rig;
}

void bench_rig_free(struct bench_rig * rig) {
    for (int p = 0; p < rig->n_peers; p++)
        peer_stop(&rig->peers[p]);
    for (int l = 0; l < rig->n_layers; l++) {
        synthetic_layer_free(&rig->layers[l]);
        if (rig->indexes != NULL)
            vattn_index_free(rig->indexes[l]);
    }
    free(rig->indexes);
    free(rig->layers);
    vattn_plan_free(rig->index_plan);
    memset(rig, 0, sizeof *rig);
}

static double density_at(const struct bench_rig * rig, double eps, int threads) {
    struct worker worker = worker_create(rig, VATTN_METHOD_SPARSE, eps, 1);
    double rows = 0;
    for (int i = 0; i < WARM_CALLS + 2; i++) {
        work_once(&worker, 0, threads, NULL);
        rows += i >= WARM_CALLS ? rows_read(&worker) / 2 : 0;
    }
    worker_free(&worker);
    return rows;
}

double bench_find_eps(const struct bench_rig * rig, double density, int threads) {
    double low = 0.001, high = 0.95; /* fewer rows for a larger eps */
    for (int i = 0; i < 9; i++) {
        const double middle = sqrt(low * high);
        if (density_at(rig, middle, threads) > density)
            low = middle;
        else
            high = middle;
    }
    return sqrt(low * high);
}

static int by_value(const void * a, const void * b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct bench_result condense(struct worker * worker) {
    const struct vattn_options * options = vattn_plan_options(worker->plan);
    const double n = worker->n_samples;
    struct bench_result result = {.name = vattn_method_name(options->method),
                                  .method = options->method,
                                  .eps = options->eps,
                                  .tier = vattn_plan_tier(worker->plan)};
    qsort(worker->ms, (size_t)worker->n_samples, sizeof *worker->ms, by_value);
    result.ms_min = worker->ms[0];
    result.ms_median = worker->ms[worker->n_samples / 2];
    result.rows_kv_fraction = worker->rows / n;
    result.rows_k_fraction = worker->keys / n;
    result.looks = worker->looks / n;
    result.bytes = worker->bytes / n;
    result.certified_share = worker->certified / n;
    for (int s = 0; s < VATTN_STAGE_COUNT; s++)
        result.stage_ms[s] = 1e3 * worker->clock.seconds[s] / worker->rig->n_layers;
    return result;
}

/* Threads of another process, or of ours, that wait for work in a loop would still run: these loops end within milliseconds. */
static void settle(void) {
    const struct timespec pause = {.tv_nsec = 5000000};
    nanosleep(&pause, NULL);
}

static double peer_turn(struct peer * peer, int layer, int threads) {
    settle();
    const double seconds = peer_seconds(peer, layer, threads);
    settle();
    return seconds;
}

static struct bench_result condense_peer(const struct bench_rig * rig, int p, double * ms, int n) {
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    return (struct bench_result){.name = rig->peers[p].name,
                                 .is_peer = true,
                                 .error = rig->peer_errors[p],
                                 .ms_min = ms[0],
                                 .ms_median = ms[n / 2],
                                 .rows_kv_fraction = 1,
                                 .bytes = (double)synthetic_layer_bytes(&rig->shape)};
}

struct bench_rates bench_measure(struct bench_rig * rig, const enum vattn_method * methods, int n_methods, double eps,
                                 int repeat, int threads, struct bench_result * results) {
    const int samples = repeat * rig->n_layers, turns = n_methods + rig->n_peers + 2;
    struct worker workers[BENCH_MAX_METHODS];
    double stream = INFINITY, gather = INFINITY, gathered = 0,
           *peer_ms = must_alloc((size_t)(samples * (rig->n_peers + 1)), sizeof *peer_ms);
    int layer = 0;
    for (int m = 0; m < n_methods; m++) {
        workers[m] = worker_create(rig, methods[m], eps, samples);
        for (int i = 0; i < WARM_CALLS * rig->n_layers; i++)
            work_once(&workers[m], i % rig->n_layers, threads, NULL);
    }
    for (int i = 0; i < samples; i++) { /* every turn takes the next layer, so nothing is found in the cache */
        stream =
            fmin(stream, 1e3 * synthetic_stream_seconds(&rig->shape, &rig->layers[layer++ % rig->n_layers], threads));
        gather = fmin(gather, synthetic_gather_seconds(&rig->shape, &rig->layers[layer++ % rig->n_layers], BENCH_ONE_IN,
                                                       threads, &gathered));
        for (int m = 0; m < n_methods; m++)
            take_sample(&workers[m], work_once(&workers[m], layer++ % rig->n_layers, threads, NULL));
        for (int p = 0; p < rig->n_peers; p++)
            peer_ms[p * samples + i] = 1e3 * peer_turn(&rig->peers[p], layer++ % rig->n_layers, threads);
        if (turns % rig->n_layers == 0)
            layer++; /* else a method would always meet the same layer */
    }
    for (int m = 0; m < n_methods; m++) {
        for (int i = 0; i < rig->n_layers; i++) /* in lock step, with a clock: slower, so these are not samples */
            work_once(&workers[m], i, threads, &workers[m].clock);
        results[m] = condense(&workers[m]);
        worker_free(&workers[m]);
    }
    for (int p = 0; p < rig->n_peers; p++)
        results[n_methods + p] = condense_peer(rig, p, peer_ms + p * samples, samples);
    free(peer_ms);
    return (struct bench_rates){stream, 1e-6 * (double)synthetic_layer_bytes(&rig->shape) / stream,
                                1e-9 * gathered / gather};
}
