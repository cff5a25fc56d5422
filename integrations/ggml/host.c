#include "host.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plug_host plug_host;

/* ----------------------------------------------------------------------------------------------- finding functions */

struct symbol_search {
    const char * library; /* how the file name begins */
    const char * symbol;
    void * found;
};

static int search_object(struct dl_phdr_info * info, size_t size, void * data) {
    (void)size;
    struct symbol_search * search = data;
    const char * slash = strrchr(info->dlpi_name, '/');
    const char * name = slash != NULL ? slash + 1 : info->dlpi_name;
    if (strncmp(name, search->library, strlen(search->library)) != 0) {
        return 0;
    }
    void * handle = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL) {
        return 0;
    }
    search->found = dlsym(handle, search->symbol);
    dlclose(handle); /* only our reference: the host keeps the library */
    return search->found != NULL;
}

/* The global scope first; hosts that were themselves loaded with local scope (Python) are searched by file name. */
static void * find_symbol(const char * library, const char * symbol) {
    struct symbol_search search = {library, symbol, dlsym(RTLD_DEFAULT, symbol)};
    if (search.found == NULL) {
        dl_iterate_phdr(search_object, &search);
    }
    return search.found;
}

struct wanted {
    const char * symbol;
    size_t offset; /* of the function pointer in struct plug_host */
};

#define WANTED(symbol, member)                                                                                         \
    { symbol, offsetof(struct plug_host, member) }

static const struct wanted wanted_base[] = {
    WANTED("ggml_version", version),
    WANTED("ggml_op_name", op_name),
    WANTED("ggml_graph_n_nodes", graph_n_nodes),
    WANTED("ggml_graph_node", graph_node),
    WANTED("ggml_fp32_to_fp16_row", f32_to_f16),
    WANTED("ggml_backend_cpu_buffer_type", cpu_buffer_type),
    WANTED("ggml_backend_cpu_buffer_from_ptr", cpu_buffer_from_ptr),
    WANTED("ggml_backend_buft_is_host", buft_is_host),
    WANTED("ggml_backend_buffer_is_host", buffer_is_host),
    WANTED("ggml_backend_buffer_get_base", buffer_base),
    WANTED("ggml_backend_buffer_get_size", buffer_size),
    WANTED("ggml_backend_graph_compute", graph_compute),
    WANTED("ggml_backend_free", backend_free),
    WANTED("ggml_backend_get_device", backend_device),
    WANTED("ggml_backend_dev_backend_reg", device_reg),
    WANTED("ggml_backend_reg_get_proc_address", reg_proc),
};

static const struct wanted wanted_openmp[] = {
    WANTED("GOMP_parallel", omp_parallel),
    WANTED("GOMP_barrier", omp_barrier),
    WANTED("omp_get_thread_num", omp_thread_num),
    WANTED("omp_get_num_threads", omp_num_threads),
};

/* A data pointer becomes a function pointer by its bytes: ISO C has no cast for it, POSIX promises that it works. */
static bool find_wanted(const char * library, const struct wanted * wanted, size_t n_wanted, const char ** missing) {
    for (size_t i = 0; i < n_wanted; i++) {
        void * found = find_symbol(library, wanted[i].symbol);
        if (found == NULL) {
            *missing = wanted[i].symbol;
            return false;
        }
        memcpy((char *)&plug_host + wanted[i].offset, &found, sizeof(found));
    }
    return true;
}

void plug_host_find_late(void) {
    const char * missing = NULL;
    if (plug_host.backend_init_by_type == NULL) {
        const struct wanted registry = WANTED("ggml_backend_init_by_type", backend_init_by_type);
        find_wanted("libggml.so", &registry, 1, &missing);
    }
    if (plug_host.omp_num_threads == NULL) {
        const size_t n = sizeof(wanted_openmp) / sizeof(wanted_openmp[0]);
        if (!find_wanted("libgomp.so", wanted_openmp, n, &missing)) {
            find_wanted("libomp.so", wanted_openmp, n, &missing);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ operation numbers */

/* Operations are looked up by name, because their numbers move whenever ggml inserts one. */
static int32_t find_op(const char * name) {
    enum { OPS_SEARCHED = 90 }; /* fewer than the operations of any host that passes the version check */
    for (int32_t op = 0; op < OPS_SEARCHED; op++) {
        if (strcmp(plug_host.op_name(op), name) == 0) {
            return op;
        }
    }
    return -1;
}

static bool find_ops(void) {
    plug_host.op_none = find_op("NONE");
    plug_host.op_reshape = find_op("RESHAPE");
    plug_host.op_view = find_op("VIEW");
    plug_host.op_permute = find_op("PERMUTE");
    plug_host.op_transpose = find_op("TRANSPOSE");
    plug_host.op_flash_attn = find_op("FLASH_ATTN_EXT");
    plug_host.op_set_rows = find_op("SET_ROWS");
    return plug_host.op_flash_attn > 0 && plug_host.op_set_rows > 0 && plug_host.op_none >= 0 &&
           plug_host.op_reshape > 0 && plug_host.op_view > 0 && plug_host.op_permute > 0 && plug_host.op_transpose > 0;
}

/* --------------------------------------------------------------------------------------------------------- version */

static bool check_version(void) {
    int major = 0;
    int minor = 0;
    if (sscanf(plug_host.version(), "%d.%d", &major, &minor) != 2 || major != 0) {
        return false;
    }
    plug_host.api_version = minor == 25 ? 2 : minor == 27 ? 3 : 0;
    return plug_host.api_version != 0;
}

bool plug_host_find(const char ** reason) {
    static char text[160];
    const char * missing = NULL;
    *reason = text;
    if (!find_wanted("libggml-base", wanted_base, sizeof(wanted_base) / sizeof(wanted_base[0]), &missing)) {
        snprintf(text, sizeof(text), "the host has no function %s", missing);
        return false;
    }
    if (!check_version()) {
        snprintf(text, sizeof(text), "the host's ggml is version %.40s, this plug-in knows 0.25.x and 0.27.x",
                 plug_host.version());
        return false;
    }
    if (!find_ops()) {
        snprintf(text, sizeof(text), "the host's ggml %.40s lacks an operation that it should have",
                 plug_host.version());
        return false;
    }
    plug_host_find_late();
    return true;
}

/* ------------------------------------------------------------------------------------------------------------ team */

static void team_enter(void * data) {
    struct plug_team * team = data;
    team->body(team, team->data);
}

void plug_team_run(int32_t n_threads, void (*body)(struct plug_team *, void *), void * data) {
    struct plug_team team = {.body = body, .data = data};
    atomic_init(&team.next_task, 0);
    team.serial = n_threads <= 1 || plug_host.omp_num_threads == NULL;
    if (team.serial) {
        body(&team, data);
    } else {
        plug_host.omp_parallel(team_enter, &team, (unsigned)n_threads, 0);
    }
}

void plug_team_barrier(const struct plug_team * team) {
    if (!team->serial) {
        plug_host.omp_barrier();
    }
}

bool plug_team_leads(const struct plug_team * team) {
    return team->serial || plug_host.omp_thread_num() == 0;
}

int32_t plug_team_take(struct plug_team * team) {
    const int task = atomic_fetch_add_explicit(&team->next_task, 1, memory_order_relaxed);
    return task < team->n_tasks ? task : -1;
}
