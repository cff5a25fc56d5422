/* SPDX-License-Identifier: MIT
 *
 * peer-ggml.c - the host's own attention as a peer of `vattn bench` (tools/peer.h has the protocol), through ggml's public interface.
 *
 *     vattn-peer-ggml fa|ops --heads H --kv-heads G --head-dim D --keys N --type TYPE --layers L --scale S --data FILE
 *
 *     fa      GGML_OP_FLASH_ATTN_EXT, what llama.cpp runs with -fa on; keys and values of a token lie side by side
 *     ops     products, softmax, products: what it runs with -fa off; values lie transposed, as in its cache then
 *
 * Memory is what the host's own buffers are, without hints.  No mask is given, which spares the host a little.  The clock runs
 * around the computation of a graph that has been built and planned before.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

enum { UNSUPPORTED = 3, NODES = 16 };

struct request {
    bool flash;
    int64_t n_heads, n_kv_heads, head_dim, n_keys, n_layers;
    float scale;
    enum ggml_type type;
    const char * data;
};

/* One layer: its cache, its query, and the graph of its answer. */
struct layer {
    struct ggml_context * context;
    ggml_backend_buffer_t memory;
    struct ggml_tensor *k, *v, *q, *out;
    struct ggml_cgraph * graph;
    ggml_gallocr_t planner;
};

static _Noreturn void die(int code, const char * what, const char * advice) {
    fprintf(stderr, "vattn-peer-ggml: %s; %s\n", what, advice);
    exit(code);
}

static enum ggml_type type_of(const char * name) {
    static const enum ggml_type types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(name, ggml_type_name(types[i])) == 0) {
            return types[i];
        }
    }
    die(UNSUPPORTED, name, "ggml has no rows of this type here: use f16, f32, bf16 or q8_0");
}

static struct request parse(int argc, char ** argv) {
    struct request r = {.scale = 0};
    if (argc < 2 || (strcmp(argv[1], "fa") != 0 && strcmp(argv[1], "ops") != 0)) {
        die(2, "bad usage", "say fa or ops; `vattn bench --peer` adds the rest");
    }
    r.flash = strcmp(argv[1], "fa") == 0;
    for (int i = 2; i + 1 < argc; i += 2) {
        const char *flag = argv[i], *value = argv[i + 1];
        int64_t * whole = strcmp(flag, "--heads") == 0      ? &r.n_heads
                          : strcmp(flag, "--kv-heads") == 0 ? &r.n_kv_heads
                          : strcmp(flag, "--head-dim") == 0 ? &r.head_dim
                          : strcmp(flag, "--keys") == 0     ? &r.n_keys
                          : strcmp(flag, "--layers") == 0   ? &r.n_layers
                                                            : NULL;
        if (whole != NULL) {
            *whole = strtoll(value, NULL, 10);
        } else if (strcmp(flag, "--type") == 0) {
            r.type = type_of(value);
        } else if (strcmp(flag, "--scale") == 0) {
            r.scale = strtof(value, NULL);
        } else if (strcmp(flag, "--data") == 0) {
            r.data = value;
        } else {
            die(2, flag, "an unknown flag");
        }
    }
    if (r.n_heads < 1 || r.n_kv_heads < 1 || r.head_dim < 1 || r.n_keys < 1 || r.n_layers < 1 || r.data == NULL) {
        die(2, "bad usage", "a flag is missing: start it by `vattn bench --peer`");
    }
    if (!r.flash && ggml_is_quantized(r.type)) {
        die(UNSUPPORTED, "quantised values", "llama.cpp has them with -fa on only");
    }
    return r;
}

static void set_threads(ggml_backend_t backend, int n) {
    typedef void set(ggml_backend_t, int);
    ggml_backend_reg_t registry = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend));
    set * function = (set *)ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads");
    if (function == NULL) {
        die(UNSUPPORTED, "no ggml_backend_set_n_threads", "another version of ggml");
    }
    function(backend, n);
}

/* The rows of all KV heads, [n][G][D], seen as [G][n][D]. */
static struct ggml_tensor * by_head(const struct layer * l, struct ggml_tensor * rows, const struct request * r) {
    const size_t bytes = ggml_row_size(r->type, r->head_dim);
    return ggml_view_3d(l->context, rows, r->head_dim, r->n_keys, r->n_kv_heads, bytes * (size_t)r->n_kv_heads, bytes, 0);
}

static void describe(struct layer * l, const struct request * r) {
    const struct ggml_init_params params = {.mem_size = NODES * ggml_tensor_overhead() + ggml_graph_overhead_custom(NODES, false),
                                            .no_alloc = true};
    l->context = ggml_init(params);
    const int64_t width = r->head_dim * r->n_kv_heads;
    l->k = ggml_new_tensor_2d(l->context, r->type, width, r->n_keys);
    l->v = r->flash ? ggml_new_tensor_2d(l->context, r->type, width, r->n_keys)
                    : ggml_new_tensor_3d(l->context, r->type, r->n_keys, r->head_dim, r->n_kv_heads);
    l->q = ggml_new_tensor_3d(l->context, GGML_TYPE_F32, r->head_dim, 1, r->n_heads);
}

static void build(struct layer * l, const struct request * r, ggml_backend_t backend) {
    struct ggml_tensor * k = by_head(l, l->k, r);
    if (r->flash) {
        l->out = ggml_flash_attn_ext(l->context, l->q, k, by_head(l, l->v, r), NULL, r->scale, 0, 0);
    } else {
        struct ggml_tensor * scores = ggml_mul_mat(l->context, k, l->q);
        ggml_prec_set_acc(scores, GGML_PREC_F32); /* as llama.cpp asks for */
        l->out = ggml_mul_mat(l->context, l->v, ggml_soft_max_ext(l->context, scores, NULL, r->scale, 0));
    }
    l->graph = ggml_new_graph_custom(l->context, NODES, false);
    ggml_build_forward_expand(l->graph, l->out);
    l->planner = ggml_gallocr_new(ggml_backend_get_default_buffer_type(backend));
    if (!ggml_gallocr_alloc_graph(l->planner, l->graph)) {
        die(2, "out of memory", "use fewer layers");
    }
}

static void read_exactly(FILE * file, void * to, size_t bytes) {
    if (fread(to, 1, bytes, file) != bytes) {
        die(2, "the data end early", "the disk may be full");
    }
}

/* [n][G][D] -> [G][D][n] */
static void transpose(const char * rows, char * to, const struct request * r) {
    const size_t size = ggml_type_size(r->type), width = (size_t)(r->head_dim * r->n_kv_heads), n = (size_t)r->n_keys;
    for (size_t first = 0; first < n; first += 64) {
        for (size_t i = 0; i < width; i++) {
            for (size_t row = first; row < first + 64 && row < n; row++) {
                memcpy(to + (i * n + row) * size, rows + (row * width + i) * size, size);
            }
        }
    }
}

static struct layer load(const struct request * r, FILE * file, ggml_backend_t backend) {
    struct layer l = {.context = NULL};
    describe(&l, r);
    l.memory = ggml_backend_alloc_ctx_tensors(l.context, backend);
    const size_t bytes = ggml_row_size(r->type, r->head_dim) * (size_t)(r->n_kv_heads * r->n_keys);
    char *rows = malloc(bytes), *turned = r->flash ? NULL : malloc(bytes);
    float * q = malloc(ggml_nbytes(l.q));
    if (l.memory == NULL || rows == NULL || q == NULL || (!r->flash && turned == NULL)) {
        die(2, "out of memory", "use fewer layers");
    }
    read_exactly(file, rows, bytes);
    ggml_backend_tensor_set(l.k, rows, 0, bytes);
    read_exactly(file, rows, bytes);
    if (turned != NULL) {
        transpose(rows, turned, r);
    }
    ggml_backend_tensor_set(l.v, turned != NULL ? turned : rows, 0, bytes);
    read_exactly(file, q, ggml_nbytes(l.q));
    ggml_backend_tensor_set(l.q, q, 0, ggml_nbytes(l.q));
    free(rows);
    free(turned);
    free(q);
    build(&l, r, backend);
    return l;
}

static double answer(ggml_backend_t backend, const struct layer * l) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    if (ggml_backend_graph_compute(backend, l->graph) != GGML_STATUS_SUCCESS) {
        die(2, "the graph failed", "see above");
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    return (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
}

static void serve(const struct request * r, const struct layer * layers, ggml_backend_t backend) {
    char line[128];
    while (fgets(line, sizeof line, stdin) != NULL) {
        const bool out = strncmp(line, "out ", 4) == 0;
        int layer, threads;
        if (sscanf(out ? line + 4 : line, "%d %d", &layer, &threads) != 2 || layer < 0 || layer >= r->n_layers) {
            die(2, "a request that is none", "start it by `vattn bench --peer`");
        }
        set_threads(backend, threads);
        printf("%.9f\n", answer(backend, &layers[layer]));
        if (out) {
            float * x = malloc(ggml_nbytes(layers[layer].out));
            ggml_backend_tensor_get(layers[layer].out, x, 0, ggml_nbytes(layers[layer].out));
            fwrite(x, 1, ggml_nbytes(layers[layer].out), stdout);
            free(x);
        }
        fflush(stdout);
    }
}

static void complain_only(enum ggml_log_level level, const char * text, void * data) {
    (void)data;
    if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) {
        fputs(text, stderr);
    }
}

/* Backends lie beside the host's libraries, not beside this program.  The plug-in, if the environment names it, has no part here. */
static void load_backends(void) {
    Dl_info info;
    char * folder = dladdr((void *)(uintptr_t)ggml_init, &info) != 0 ? realpath(info.dli_fname, NULL) : NULL;
    char * slash = folder != NULL ? strrchr(folder, '/') : NULL;
    if (slash == NULL) {
        die(2, "cannot locate libggml-base", "start it where it was built");
    }
    *slash = '\0';
    unsetenv("GGML_BACKEND_PATH");
    ggml_log_set(complain_only, NULL);
    ggml_backend_load_all_from_path(folder);
    free(folder);
}

int main(int argc, char ** argv) {
    const struct request r = parse(argc, argv);
    load_backends();
    ggml_backend_t backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    FILE * file = fopen(r.data, "rb");
    struct layer * layers = calloc((size_t)r.n_layers, sizeof *layers);
    if (backend == NULL || file == NULL || layers == NULL) {
        die(2, backend == NULL ? "ggml has no CPU backend" : r.data, "nothing to answer from");
    }
    for (int64_t i = 0; i < r.n_layers; i++) {
        layers[i] = load(&r, file, backend);
    }
    fclose(file);
    printf("ready\n");
    fflush(stdout);
    serve(&r, layers, backend);
    for (int64_t i = 0; i < r.n_layers; i++) {
        ggml_gallocr_free(layers[i].planner);
        ggml_backend_buffer_free(layers[i].memory);
        ggml_free(layers[i].context);
    }
    ggml_backend_free(backend);
    free(layers);
    return 0;
}
