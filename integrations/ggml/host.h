/*
 * What the plug-in calls in its host, found at load time among the libraries that the host has loaded already.
 *
 * Nothing of ggml or OpenMP is linked, so one binary serves several ggml versions and never drags in a second copy of
 * either: a second thread pool beside the host's would fight with it for the cores.
 */
#ifndef PLUG_HOST_H
#define PLUG_HOST_H

#include <stdatomic.h>

#include "abi.h"

struct plug_host {
    const char * (*version)(void);
    const char * (*op_name)(int32_t op);
    int32_t (*graph_n_nodes)(struct ggml_cgraph *);
    struct ggml_tensor * (*graph_node)(struct ggml_cgraph *, int32_t);
    void (*f32_to_f16)(const float *, uint16_t *, int64_t);
    struct ggml_backend_buffer_type * (*cpu_buffer_type)(void);
    struct ggml_backend_buffer * (*cpu_buffer_from_ptr)(void *, size_t);
    bool (*buft_is_host)(struct ggml_backend_buffer_type *);
    bool (*buffer_is_host)(struct ggml_backend_buffer *);
    void * (*buffer_base)(struct ggml_backend_buffer *);
    size_t (*buffer_size)(struct ggml_backend_buffer *);
    int32_t (*graph_compute)(struct ggml_backend *, struct ggml_cgraph *);
    void (*backend_free)(struct ggml_backend *);
    struct ggml_backend_device * (*backend_device)(struct ggml_backend *);
    struct ggml_backend_reg * (*device_reg)(struct ggml_backend_device *);
    void * (*reg_proc)(struct ggml_backend_reg *, const char *);
    struct ggml_backend * (*backend_init_by_type)(int32_t type, const char * params);   /* optional: no delegation */
    void (*omp_parallel)(void (*)(void *), void *, unsigned n_threads, unsigned flags); /* optional: one thread */
    void (*omp_barrier)(void);
    int32_t (*omp_thread_num)(void);
    int32_t (*omp_num_threads)(void);

    int32_t api_version; /* what to report as the interface of this host */
    int32_t op_flash_attn, op_set_rows;
    int32_t op_none, op_reshape, op_view, op_permute, op_transpose;
};

extern struct plug_host plug_host;

/* Find everything and check the version.  On failure *reason is a sentence for the user. */
bool plug_host_find(const char ** reason);

/* Functions that may be loaded later than we are: the registry and the host's OpenMP. */
void plug_host_find_late(void);

static inline bool plug_host_is_view(int32_t op) {
    return op == plug_host.op_none || op == plug_host.op_reshape || op == plug_host.op_view ||
           op == plug_host.op_permute || op == plug_host.op_transpose;
}

/* ------------------------------------------------------------------------------------------------- the host's pool */

/* All threads of a region share one; a region is a function that every thread runs once. */
struct plug_team {
    void (*body)(struct plug_team * team, void * data);
    void * data;
    atomic_int next_task;
    int32_t n_tasks;
    bool serial;
};

void plug_team_run(int32_t n_threads, void (*body)(struct plug_team *, void *), void * data);
void plug_team_barrier(const struct plug_team * team);
bool plug_team_leads(const struct plug_team * team);

/* Hand out tasks 0 .. n_tasks - 1 once each; -1 when there are none left. */
int32_t plug_team_take(struct plug_team * team);

#endif
