/* SPDX-License-Identifier: MIT
 * vattn bench: how long a decode step of one layer takes, beside the time of streaming its cache once. */
#include "bench_case.h"
#include "complain.h"
#include "json_file.h"
#include "machine.h"
#include "methods.h"
#include "options.h"
#include "rows.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bench_request {
    struct synthetic_shape shape;
    struct vattn_options options;
    int64_t *keys, *threads;
    int n_keys, n_threads;
    enum vattn_method methods[BENCH_MAX_METHODS];
    int n_methods;
    double density;     /* 0: eps decides */
    int repeat, layers; /* layers 0: enough to defeat the cache */
    const char * json;
    char * peers[PEER_MOST];
    int n_peers;
};

static cJSON * describe_machine(const char * tier, double load) {
    cJSON * machine = cJSON_CreateObject();
    char name[128];
    machine_cpu_name(name, sizeof name);
    cJSON_AddStringToObject(machine, "cpu", name);
    cJSON_AddNumberToObject(machine, "processors", default_threads());
    cJSON_AddNumberToObject(machine, "llc_bytes", (double)machine_llc_bytes());
    cJSON_AddNumberToObject(machine, "load", load);
    cJSON_AddStringToObject(machine, "tier", tier);
    cJSON_AddStringToObject(machine, "vattn", vattn_version());
    return machine;
}

static cJSON * describe_stages(const struct bench_result * result) {
    static const char * const names[VATTN_STAGE_COUNT] = {NULL, "scan", "design", "gather", "estimate", "merge"};
    cJSON * stages = cJSON_CreateObject();
    for (int s = 1; s < VATTN_STAGE_COUNT; s++)
        cJSON_AddNumberToObject(stages, names[s], result->stage_ms[s]);
    return stages;
}

/* The time that reading these bytes in order would take, over the time taken. */
static double share_of_limit(const struct bench_rig * rig, const struct bench_result * r,
                             const struct bench_rates * rates) {
    return rates->stream_ms * r->bytes / (double)synthetic_layer_bytes(&rig->shape) / r->ms_min;
}

static cJSON * describe_case(const struct bench_rig * rig, const struct bench_result * r, int threads,
                             const struct bench_rates * rates) {
    cJSON * item = cJSON_CreateObject();
    const double rows = (double)rig->shape.n_keys * rig->shape.n_kv_heads;
    cJSON_AddStringToObject(item, "method", r->name);
    cJSON_AddBoolToObject(item, "peer", r->is_peer);
    cJSON_AddNumberToObject(item, "n", (double)rig->shape.n_keys);
    cJSON_AddNumberToObject(item, "threads", threads);
    cJSON_AddNumberToObject(item, "rows_kv_fraction", r->rows_kv_fraction);
    cJSON_AddNumberToObject(item, "rows_k_fraction", r->rows_k_fraction);
    cJSON_AddNumberToObject(item, "looks", r->looks);
    cJSON_AddNumberToObject(item, "ms_min", r->ms_min);
    cJSON_AddNumberToObject(item, "ms_median", r->ms_median);
    cJSON_AddNumberToObject(item, "ns_per_row", 1e6 * r->ms_min * threads / rows);
    cJSON_AddNumberToObject(item, "bytes", r->bytes);
    cJSON_AddNumberToObject(item, "stream_ms_min", rates->stream_ms);
    cJSON_AddNumberToObject(item, "ratio_to_stream", r->ms_min / rates->stream_ms);
    cJSON_AddNumberToObject(item, "share_of_limit", share_of_limit(rig, r, rates));
    cJSON_AddNumberToObject(item, "stream_gb_s", rates->stream);
    cJSON_AddNumberToObject(item, "gather_gb_s", rates->gather);
    cJSON_AddItemToObject(item, "stages", describe_stages(r));
    cJSON_AddNumberToObject(item, "certified_share", r->certified_share);
    cJSON_AddNumberToObject(item, "layers", rig->n_layers);
    if (r->is_peer)
        cJSON_AddNumberToObject(item, "error", r->error);
    if (!r->is_peer && r->method == VATTN_METHOD_SPARSE) {
        cJSON_AddNumberToObject(item, "eps", r->eps);
        cJSON_AddNumberToObject(item, "index_build_ms", rig->build_ms);
        cJSON_AddNumberToObject(item, "index_bytes", (double)rig->index_bytes);
    }
    return item;
}

static void print_case(const struct bench_rig * rig, const struct bench_result * r, int threads,
                       const struct bench_rates * rates) {
    printf("%-9s %8lld %7d %8.2f %9.3f %9.3f %8.1f %9.3f %7.2f %6.0f", r->name, (long long)rig->shape.n_keys, threads,
           100 * r->rows_kv_fraction, r->ms_min, r->ms_median, r->bytes * 1e-6, rates->stream_ms,
           r->ms_min / rates->stream_ms, 100 * share_of_limit(rig, r, rates));
    if (!r->is_peer)
        printf("   %.2f/%.2f/%.2f/%.2f/%.2f", r->stage_ms[VATTN_STAGE_SCAN], r->stage_ms[VATTN_STAGE_DESIGN],
               r->stage_ms[VATTN_STAGE_GATHER], r->stage_ms[VATTN_STAGE_ESTIMATE], r->stage_ms[VATTN_STAGE_MERGE]);
    else
        printf("   error %.2g", r->error);
    printf("\n");
    fflush(stdout);
}

static bool wants(const struct bench_request * request, enum vattn_method method) {
    for (int m = 0; m < request->n_methods; m++)
        if (request->methods[m] == method)
            return true;
    return false;
}

/* Whose index the layers get; EXACT = none. */
static enum vattn_method index_method(const struct bench_request * request) {
    const bool sparse = wants(request, VATTN_METHOD_SPARSE), strict = wants(request, VATTN_METHOD_SPARSE_STRICT);
    if (sparse && strict)
        give_up("--method: sparse and sparse-strict keep different indexes; time them in two runs");
    return strict ? VATTN_METHOD_SPARSE_STRICT : sparse ? VATTN_METHOD_SPARSE : VATTN_METHOD_EXACT;
}

/* All thread counts of one number of keys; returns the tier's name. */
static const char * bench_keys(const struct bench_request * request, int64_t n_keys, cJSON * cases) {
    struct synthetic_shape shape = request->shape;
    struct bench_result results[BENCH_MAX_RESULTS];
    struct bench_rig rig;
    double eps = request->options.eps;
    shape.n_keys = n_keys;
    rig = bench_rig_create(&shape, &request->options, index_method(request), request->layers, default_threads(),
                           request->peers, request->n_peers);
    if (request->density > 0 && wants(request, VATTN_METHOD_SPARSE))
        eps = bench_find_eps(&rig, request->density, default_threads());
    for (int t = 0; t < request->n_threads; t++) {
        const int threads = (int)request->threads[t];
        const struct bench_rates rates =
            bench_measure(&rig, request->methods, request->n_methods, eps, request->repeat, threads, results);
        for (int m = 0; m < request->n_methods + request->n_peers; m++) {
            cJSON_AddItemToArray(cases, describe_case(&rig, &results[m], threads, &rates));
            print_case(&rig, &results[m], threads, &rates);
        }
        printf("%d thread%s: reading in order %.1f GB/s, rows of K by themselves, one in %d, %.1f GB/s\n", threads,
               threads == 1 ? "" : "s", rates.stream, BENCH_ONE_IN, rates.gather);
    }
    bench_rig_free(&rig);
    return results[0].tier;
}

static int bench(const struct bench_request * request) {
    cJSON * root = cJSON_CreateObject();
    cJSON * cases = cJSON_CreateArray();
    const char * tier = "";
    const double load = machine_load(); /* before our own work */
    char reason[256];
    printf("%d heads on %d KV heads of %d, %s; the time of one layer, %s\n", request->shape.n_heads,
           request->shape.n_kv_heads, request->shape.head_dim, row_type_name(request->shape.type),
           request->layers > 0 ? "cache not defeated if --layers is small" : "cold cache");
    printf("%-9s %8s %7s %8s %9s %9s %8s %9s %7s %6s   %s\n", "method", "keys", "threads", "rows %", "ms min", "median",
           "MB read", "stream ms", "ratio", "lim %", "ms of scan/design/gather/estimate/merge");
    for (int k = 0; k < request->n_keys; k++)
        tier = bench_keys(request, request->keys[k], cases);
    if (load > 0.5)
        complain("the machine was busy (load %.1f): expect times that are too long, most of all with several threads",
                 load);
    cJSON_AddItemToObject(root, "machine", describe_machine(tier, load));
    cJSON_AddItemToObject(root, "cases", cases);
    if (request->json == NULL) {
        cJSON_Delete(root);
        return EXIT_FINE;
    }
    if (!json_write(request->json, root, reason, sizeof reason))
        give_up("--json %s: %s; choose another place", request->json, reason);
    return EXIT_FINE;
}

enum {
    KEY_HEADS = 0x200,
    KEY_KV_HEADS,
    KEY_HEAD_DIM,
    KEY_KEYS,
    KEY_TYPE,
    KEY_THREADS,
    KEY_METHOD,
    KEY_DENSITY,
    KEY_REPEAT,
    KEY_JSON,
    KEY_EPS,
    KEY_DELTA,
    KEY_SPREAD,
    KEY_PARAM,
    KEY_LAYERS,
    KEY_PEER
};

static const struct argp_option options[] = {
    {"heads", KEY_HEADS, "N", 0, "query heads (default 32)", 0},
    {"kv-heads", KEY_KV_HEADS, "N", 0, "KV heads (default 8)", 0},
    {"head-dim", KEY_HEAD_DIM, "N", 0, "length of a row (default 128)", 0},
    {"keys", KEY_KEYS, "N,...", 0, "visible keys (default 32768)", 0},
    {"type", KEY_TYPE, "NAME", 0, "f16 (default), f32, bf16 or q8_0", 0},
    {"threads", KEY_THREADS, "T,...", 0, "threads (default: all allowed processors)", 0},
    {"method", KEY_METHOD, "NAME,...", 0, "methods to compare (default exact,sparse)", 0},
    {"density", KEY_DENSITY, "X", 0, "choose eps so that sparse reads about this share of the rows", 0},
    {"eps", KEY_EPS, "X", 0, "eps of sparse if there is no --density (default 0.05)", 0},
    {"delta", KEY_DELTA, "X", 0, "delta (default 0.05)", 0},
    {"spread", KEY_SPREAD, "X", 0, "standard deviation of the scores (default 2.5)", 0},
    {"layers", KEY_LAYERS, "N", 0, "layers in turn (default: six times the last-level cache, so that rows are cold)",
     0},
    {"repeat", KEY_REPEAT, "R", 0, "turns over all layers (default 10)", 0},
    {"peer", KEY_PEER, "NAME=COMMAND", 0, "another attention that takes its turn, may be repeated", 0},
    {"param", KEY_PARAM, "KEY=VALUE", 0, "a parameter of the method, as in 'vattn methods'", 0},
    {"json", KEY_JSON, "FILE", 0, "write machine and cases as JSON; - is stdout", 0},
    {0},
};

static void parse_methods(struct bench_request * request, const char * text) {
    char * copy = strdup(text);
    char * rest = copy;
    request->n_methods = 0;
    for (char * word; (word = strsep(&rest, ",")) != NULL;) {
        if (request->n_methods == BENCH_MAX_METHODS)
            give_up("--method: more than %d methods; ask for fewer", BENCH_MAX_METHODS);
        request->methods[request->n_methods] = method_must_parse("--method", word);
        if (method_entry_of(request->methods[request->n_methods++])->index == INDEX_SELECTOR)
            give_up("--method %s: bench builds no index of methods of comparison; use verify or attend", word);
    }
    free(copy);
}

static error_t parse_shape(int key, const char * text, struct synthetic_shape * shape) {
    switch (key) {
    case KEY_HEADS:
        shape->n_heads = (int32_t)flag_whole("--heads", text, 1, 65536);
        return 0;
    case KEY_KV_HEADS:
        shape->n_kv_heads = (int32_t)flag_whole("--kv-heads", text, 1, 65536);
        return 0;
    case KEY_HEAD_DIM:
        shape->head_dim = (int32_t)flag_whole("--head-dim", text, 1, 576);
        return 0;
    case KEY_TYPE:
        shape->type = row_type_must_parse("--type", text);
        return 0;
    case KEY_SPREAD:
        shape->score_sd = flag_number("--spread", text, 0, 20);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char * text, struct argp_state * state) {
    struct bench_request * request = state->input;
    switch (key) {
    case KEY_KEYS:
        free(request->keys);
        request->n_keys = flag_list("--keys", text, 64, INT32_MAX, &request->keys);
        return 0;
    case KEY_THREADS:
        free(request->threads);
        request->n_threads = flag_list("--threads", text, 1, 1024, &request->threads);
        return 0;
    case KEY_METHOD:
        parse_methods(request, text);
        return 0;
    case KEY_DENSITY:
        request->density = flag_number("--density", text, 1e-6, 1);
        return 0;
    case KEY_EPS:
        request->options.eps = flag_number("--eps", text, 1e-9, 0.999999);
        return 0;
    case KEY_DELTA:
        request->options.delta = flag_number("--delta", text, 1e-12, 0.5);
        return 0;
    case KEY_REPEAT:
        request->repeat = (int)flag_whole("--repeat", text, 1, 1000000);
        return 0;
    case KEY_LAYERS:
        request->layers = (int)flag_whole("--layers", text, 1, 100000);
        return 0;
    case KEY_PARAM:
        method_set_parameter(&request->options, NULL, text);
        return 0;
    case KEY_PEER:
        if (request->n_peers == PEER_MOST)
            give_up("--peer: more than %d; ask for fewer", PEER_MOST);
        request->peers[request->n_peers++] = text;
        return 0;
    case KEY_JSON:
        request->json = text;
        return 0;
    case ARGP_KEY_ARG:
        give_up("%s: bench takes no files, it makes its own keys; leave it out", text);
    default:
        return parse_shape(key, text, &request->shape);
    }
}

static const char doc[] =
    "Time a decode step of one layer on synthetic keys, beside reading its K and V once."
    "\vExamples:\n"
    "  vattn bench\n"
    "      32/8 heads of 128, 32,768 keys, exact and sparse at eps 0.05\n"
    "  vattn bench --density 0.03 --keys 32768,131072 --json bench.json\n"
    "  vattn bench --heads 14 --kv-heads 2 --head-dim 64 --method exact\n"
    "  vattn bench --peer 'ggml-ops=build/demo-driver/vattn-peer-ggml ops'\n"
    "      beside the attention of llama.cpp, in turn (scripts/build-driver.sh builds it; 'make bench' does all of "
    "this)\n"
    "\n"
    "Methods and plain streaming take turns in one run, over so many layers that no row is found in the last-level "
    "cache. Compare the ratio, not the milliseconds of different machines. The density is reached by a search for eps "
    "(so the number of looks is a real one); the keys say nothing about accuracy. lim %: what reading the bytes that "
    "were read, in order, would take of the time. Small --layers: warm cache.\n"
    "A peer is a program that holds the same layers and answers one request at a time; one whose answer is "
    "half of it away from exact attention is refused, smaller errors are reported. tools/peer.h has the protocol.\n"
    "Exit code: 0, 2 for bad usage.";

int verb_bench(int argc, char ** argv) {
    static const struct argp argp = {options, parse, "", doc, NULL, NULL, NULL};
    struct bench_request request = {
        .shape = {.n_heads = 32, .n_kv_heads = 8, .head_dim = 128, .type = VATTN_TYPE_F16, .score_sd = 2.5},
        .options = {.struct_size = sizeof(struct vattn_options), .eps = 0.05, .delta = 0.05},
        .methods = {VATTN_METHOD_EXACT, VATTN_METHOD_SPARSE},
        .n_methods = 2,
        .repeat = 10,
    };
    char every[16];
    int code;
    snprintf(every, sizeof every, "%d", default_threads());
    request.n_keys = flag_list("--keys", "32768", 64, INT32_MAX, &request.keys);
    request.n_threads = flag_list("--threads", every, 1, 1024, &request.threads);
    parse_arguments(&argp, argc, argv, &request);
    request.options.disabled_tiers = method_disabled_tiers();
    code = bench(&request);
    free(request.keys);
    free(request.threads);
    return code;
}
