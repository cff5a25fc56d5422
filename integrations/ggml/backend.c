/*
 * libggml-vattn.so: the tables that the host knows us by, and the walk over its graphs.
 *
 * The host cuts a graph into pieces by who claimed their nodes (claim.c); a piece of ours holds the cache writes and the
 * attention of one layer.  It is either computed here, node by node, or handed as a whole to a CPU backend of our own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attend.h"
#include "capture.h"
#include "claim.h"
#include "host.h"
#include "options.h"
#include "roots.h"
#include "set-rows.h"
#include "stats.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT struct ggml_backend_reg * ggml_backend_init(void);
EXPORT int ggml_backend_score(void);

static const char name[] = "VATTN";
static const char description[] = "verified sparse attention (libvattn)";

/* -------------------------------------------------------------------------------------------------------- graphs */

enum { SET_ROWS_OURS = 256 }; /* more rows at once than this are the CPU backend's */

static bool is_live(const struct ggml_tensor * node) {
    return (node->flags & ABI_FLAG_COMPUTE) != 0;
}

/* Prompts are the CPU backend's, unless there is none or the host's tests want to see our own code. */
static bool is_prompt(const struct plug_context * context, const struct ggml_tensor * node) {
    if (context->cpu == NULL || plug_options.claim_all) {
        return false;
    }
    return node->op == plug_host.op_flash_attn ? node->src[0]->ne[1] > PLUG_DECODE_MAX
                                               : plug_set_rows_count(node) > SET_ROWS_OURS;
}

/* Everything that can make us hand over is found out before anything is written. */
static bool is_ours(struct plug_context * context, const struct ggml_tensor * node) {
    if (node->op == plug_host.op_flash_attn) {
        return plug_attend_prepare(context, node) && !is_prompt(context, node) && plug_attend_read_mask(context, node);
    }
    return node->op != plug_host.op_set_rows || !is_prompt(context, node);
}

static bool graph_is_ours(struct plug_context * context, struct ggml_cgraph * graph) {
    bool ours = true;
    for (int32_t i = 0; i < plug_host.graph_n_nodes(graph); i++) {
        const struct ggml_tensor * node = plug_host.graph_node(graph, i);
        ours = (!is_live(node) || is_ours(context, node)) && ours; /* all are prepared, whatever comes of it */
    }
    return ours;
}

static int32_t delegate(struct plug_context * context, struct ggml_cgraph * graph) {
    if (context->cpu == NULL) {
        return ABI_STATUS_FAILED;
    }
    if (context->cpu_set_n_threads != NULL) {
        context->cpu_set_n_threads(context->cpu, context->n_threads);
    }
    return plug_host.graph_compute(context->cpu, graph);
}

static void learn_from(struct plug_context * context, struct ggml_cgraph * graph) {
    for (int32_t i = 0; i < plug_host.graph_n_nodes(graph); i++) {
        const struct ggml_tensor * node = plug_host.graph_node(graph, i);
        if (is_live(node) && node->op == plug_host.op_flash_attn) {
            plug_attend_learn(context, node);
        }
    }
}

static bool compute_node(struct plug_context * context, const struct ggml_tensor * node) {
    if (node->op == plug_host.op_set_rows) {
        plug_set_rows(node);
        return true;
    }
    return plug_host_is_view(node->op) || (node->op == plug_host.op_flash_attn && plug_attend(context, node));
}

static bool compute_nodes(struct plug_context * context, struct ggml_cgraph * graph) {
    for (int32_t i = 0; i < plug_host.graph_n_nodes(graph); i++) {
        const struct ggml_tensor * node = plug_host.graph_node(graph, i);
        if (is_live(node) && !compute_node(context, node)) {
            return false;
        }
    }
    return true;
}

static void note_writes(struct plug_context * context, struct ggml_cgraph * graph) {
    for (int32_t i = 0; i < plug_host.graph_n_nodes(graph); i++) {
        const struct ggml_tensor * node = plug_host.graph_node(graph, i);
        if (is_live(node) && node->op == plug_host.op_set_rows) {
            plug_set_rows_note(context->layers, node);
        }
    }
}

/*
 * A piece holds one attention node at most (the host puts projections in between), and that one writes its result only
 * when it is complete: so a piece that fails half-way can still be done again, from the start, by the CPU backend.
 */
static int32_t backend_graph_compute(struct ggml_backend * backend, struct ggml_cgraph * graph) {
    struct plug_context * context = backend->context;
    const bool ours = graph_is_ours(context, graph);
    note_writes(context, graph);
    if (ours && compute_nodes(context, graph)) {
        return ABI_STATUS_SUCCESS;
    }
    learn_from(context, graph);
    return delegate(context, graph);
}

/* ------------------------------------------------------------------------------------------------------- backend */

static const char * backend_name(struct ggml_backend * backend) {
    (void)backend;
    return name;
}

static void backend_free(struct ggml_backend * backend) {
    struct plug_context * context = backend->context;
    plug_roots_drop(context);
    if (context->cpu != NULL) {
        plug_host.backend_free(context->cpu);
    }
    plug_context_free(context);
    free(context);
    free(backend);
}

/* The host calls this before every graph, which tells us that masks have changed. */
static void backend_set_n_threads(struct ggml_backend * backend, int n_threads) {
    struct plug_context * context = backend->context;
    context->n_threads = n_threads > 0 ? n_threads : 1;
    context->epoch++;
}

typedef void (*generic_function)(void);

/* ISO C has no conversion between data and function pointers; their bytes are the same on every system with dlsym. */
static generic_function function_at(void * address) {
    generic_function function = NULL;
    memcpy(&function, &address, sizeof(function));
    return function;
}

static void * address_of(generic_function function) {
    void * address = NULL;
    memcpy(&address, &function, sizeof(address));
    return address;
}

static void context_open_cpu(struct plug_context * context) {
    plug_host_find_late();
    if (plug_host.backend_init_by_type == NULL) {
        return;
    }
    context->cpu = plug_host.backend_init_by_type(ABI_DEVICE_CPU, NULL);
    if (context->cpu != NULL) {
        struct ggml_backend_reg * reg = plug_host.device_reg(plug_host.backend_device(context->cpu));
        void * address = plug_host.reg_proc(reg, "ggml_backend_set_n_threads");
        context->cpu_set_n_threads = (void (*)(struct ggml_backend *, int32_t))function_at(address);
    }
}

static struct ggml_backend * device_init_backend(struct ggml_backend_device * device, const char * params) {
    (void)params;
    static uint8_t guid[16] = {'l', 'i', 'b', 'v', 'a', 't', 't', 'n', ' ', 'g', 'g', 'm', 'l', ' ', '0', '1'};
    static const struct abi_backend_table table = {
        .get_name = backend_name, .free = backend_free, .graph_compute = backend_graph_compute};
    struct ggml_backend * backend = calloc(1, sizeof(*backend));
    struct plug_context * context = calloc(1, sizeof(*context));
    if (backend == NULL || context == NULL) {
        free(backend);
        free(context);
        return NULL;
    }
    context->n_threads = 4; /* the host's own default, until it says otherwise */
    context_open_cpu(context);
    *backend = (struct ggml_backend){&guid, table, device, context};
    return backend;
}

/* -------------------------------------------------------------------------------------------------------- device */

static const char * device_name(struct ggml_backend_device * device) {
    (void)device;
    return name;
}

static const char * device_description(struct ggml_backend_device * device) {
    (void)device;
    return description;
}

static void device_memory(struct ggml_backend_device * device, size_t * free_bytes, size_t * total_bytes) {
    (void)device;
    *free_bytes = 0;
    *total_bytes = 0;
}

static int32_t device_type(struct ggml_backend_device * device) {
    (void)device;
    return ABI_DEVICE_ACCEL;
}

static void device_props(struct ggml_backend_device * device, struct abi_device_props * props) {
    (void)device;
    *props = (struct abi_device_props){.name = name,
                                       .description = description,
                                       .type = ABI_DEVICE_ACCEL,
                                       .buffer_from_host_ptr = true,
                                       .mmap_support = true};
}

/* The CPU backend's own buffer type: the scheduler compares pointers. */
static struct ggml_backend_buffer_type * device_buffer_type(struct ggml_backend_device * device) {
    (void)device;
    return plug_host.cpu_buffer_type();
}

static struct ggml_backend_buffer * device_buffer_from_ptr(struct ggml_backend_device * device, void * ptr, size_t size,
                                                           size_t max_tensor_size) {
    (void)device;
    (void)max_tensor_size;
    return plug_host.cpu_buffer_from_ptr(ptr, size);
}

static bool device_supports_op(struct ggml_backend_device * device, const struct ggml_tensor * op) {
    (void)device;
    return plug_claim(op);
}

static bool device_supports_buft(struct ggml_backend_device * device, struct ggml_backend_buffer_type * type) {
    (void)device;
    return plug_host.buft_is_host(type);
}

/* ------------------------------------------------------------------------------------------------------ registry */

static const char * reg_name(struct ggml_backend_reg * reg) {
    (void)reg;
    return name;
}

static size_t reg_device_count(struct ggml_backend_reg * reg) {
    (void)reg;
    return 1;
}

static struct ggml_backend_device * reg_device(struct ggml_backend_reg * reg, size_t i) {
    static struct ggml_backend_device device = {.table = {.get_name = device_name,
                                                          .get_description = device_description,
                                                          .get_memory = device_memory,
                                                          .get_type = device_type,
                                                          .get_props = device_props,
                                                          .init_backend = device_init_backend,
                                                          .get_buffer_type = device_buffer_type,
                                                          .buffer_from_host_ptr = device_buffer_from_ptr,
                                                          .supports_op = device_supports_op,
                                                          .supports_buft = device_supports_buft}};
    (void)i;
    device.reg = reg;
    return &device;
}

/* For programs that compare methods in one process: 0 and the method of all graphs from now on, or -1. */
static int set_method(const char * method_name) {
    enum vattn_method method = VATTN_METHOD_EXACT;
    if (method_name == NULL || !vattn_method_parse(method_name, &method)) {
        return -1;
    }
    atomic_store(&plug_method, (int)method);
    return 0;
}

static void * reg_proc_address(struct ggml_backend_reg * reg, const char * symbol) {
    (void)reg;
    static const struct {
        const char * symbol;
        generic_function function;
    } offered[] = {{"ggml_backend_set_n_threads", (generic_function)backend_set_n_threads},
                   {"vattn_set_method", (generic_function)set_method},
                   {"vattn_stats_json", (generic_function)plug_stats_json},
                   {"vattn_stats_reset", (generic_function)plug_stats_reset}};
    for (size_t i = 0; i < sizeof(offered) / sizeof(offered[0]); i++) {
        if (strcmp(offered[i].symbol, symbol) == 0) {
            return address_of(offered[i].function);
        }
    }
    return NULL;
}

static void report_at_exit(void) {
    plug_stats_report();
    plug_capture_report();
}

struct ggml_backend_reg * ggml_backend_init(void) {
    static struct ggml_backend_reg reg = {.table = {reg_name, reg_device_count, reg_device, reg_proc_address}};
    static bool prepared;
    const char * reason = NULL;
    if (!prepared) {
        if (!plug_host_find(&reason)) {
            fprintf(stderr, "vattn: not loaded: %s\n", reason);
            return NULL;
        }
        plug_options_read();
        atexit(report_at_exit);
        prepared = true;
    }
    reg.api_version = plug_host.api_version;
    return &reg;
}

int ggml_backend_score(void) {
    return 1;
}
