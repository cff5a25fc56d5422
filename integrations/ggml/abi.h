/*
 * The parts of ggml's binary interface that this plug-in touches, for x86-64 and AArch64 with 64-bit pointers.
 *
 * Facts only, in our own words: what the plug-in never looks at is an opaque pointer or padding.  The same layouts hold
 * for backend interface 2 (ggml 0.25.x) and 3 (0.27.x); between them only the tables of buffers changed, which we never
 * define.  ggml may insert members without raising the number, so backend.c checks the host's version as well.
 */
#ifndef PLUG_ABI_H
#define PLUG_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ggml_backend;
struct ggml_backend_buffer;
struct ggml_backend_buffer_type;
struct ggml_backend_device;
struct ggml_backend_reg;
struct ggml_cgraph;

enum {
    ABI_TYPE_F32 = 0,
    ABI_TYPE_F16 = 1,
    ABI_TYPE_Q8_0 = 8,
    ABI_TYPE_I32 = 26,
    ABI_TYPE_I64 = 27,
    ABI_TYPE_BF16 = 30
};
enum { ABI_STATUS_FAILED = -1, ABI_STATUS_SUCCESS = 0 };
enum { ABI_FLAG_COMPUTE = 16 }; /* nodes without it are dead and must be skipped */
enum { ABI_DEVICE_CPU = 0, ABI_DEVICE_ACCEL = 3 };

/* ne: elements, nb: strides in bytes, dimension 0 first.  A view has view_src set and shares its memory. */
struct ggml_tensor {
    int32_t type;
    struct ggml_backend_buffer * buffer;
    int64_t ne[4];
    size_t nb[4];
    int32_t op;
    int32_t op_params[16];
    int32_t flags;
    struct ggml_tensor * src[10];
    struct ggml_tensor * view_src;
    size_t view_offs;
    void * data;
    char name[64];
    void * extra;
    char padding[8];
};

struct abi_device_props {
    const char * name;
    const char * description;
    size_t memory_free, memory_total;
    int32_t type;
    const char * device_id;
    bool async, host_buffer, buffer_from_host_ptr, events, mmap_support;
};

/* Sixteen functions; NULL = not offered. */
struct abi_backend_table {
    const char * (*get_name)(struct ggml_backend *);
    void (*free)(struct ggml_backend *);
    void (*unused_async[5])(void);
    void (*synchronize)(struct ggml_backend *);
    void (*unused_plan[4])(void);
    int32_t (*graph_compute)(struct ggml_backend *, struct ggml_cgraph *);
    void (*unused_event[2])(void);
    void (*graph_optimize)(void);
};

struct ggml_backend {
    uint8_t (*guid)[16];
    struct abi_backend_table table;
    struct ggml_backend_device * device;
    void * context;
};

/* Fifteen functions. */
struct abi_device_table {
    const char * (*get_name)(struct ggml_backend_device *);
    const char * (*get_description)(struct ggml_backend_device *);
    void (*get_memory)(struct ggml_backend_device *, size_t * free, size_t * total);
    int32_t (*get_type)(struct ggml_backend_device *);
    void (*get_props)(struct ggml_backend_device *, struct abi_device_props *);
    struct ggml_backend * (*init_backend)(struct ggml_backend_device *, const char * params);
    struct ggml_backend_buffer_type * (*get_buffer_type)(struct ggml_backend_device *);
    struct ggml_backend_buffer_type * (*get_host_buffer_type)(struct ggml_backend_device *);
    struct ggml_backend_buffer * (*buffer_from_host_ptr)(struct ggml_backend_device *, void *, size_t, size_t);
    bool (*supports_op)(struct ggml_backend_device *, const struct ggml_tensor *);
    bool (*supports_buft)(struct ggml_backend_device *, struct ggml_backend_buffer_type *);
    bool (*offload_op)(struct ggml_backend_device *, const struct ggml_tensor *);
    void (*unused_event[3])(void);
};

struct ggml_backend_device {
    struct abi_device_table table;
    struct ggml_backend_reg * reg;
    void * context;
};

struct abi_reg_table {
    const char * (*get_name)(struct ggml_backend_reg *);
    size_t (*get_device_count)(struct ggml_backend_reg *);
    struct ggml_backend_device * (*get_device)(struct ggml_backend_reg *, size_t);
    void * (*get_proc_address)(struct ggml_backend_reg *, const char *);
};

struct ggml_backend_reg {
    int32_t api_version;
    struct abi_reg_table table;
    void * context;
};

_Static_assert(sizeof(void *) == 8, "only 64-bit hosts are known");
_Static_assert(sizeof(struct ggml_tensor) == 336, "ggml_tensor");
_Static_assert(offsetof(struct ggml_tensor, ne) == 16, "ggml_tensor.ne");
_Static_assert(offsetof(struct ggml_tensor, op) == 80, "ggml_tensor.op");
_Static_assert(offsetof(struct ggml_tensor, src) == 152, "ggml_tensor.src");
_Static_assert(offsetof(struct ggml_tensor, view_src) == 232, "ggml_tensor.view_src");
_Static_assert(offsetof(struct ggml_tensor, data) == 248, "ggml_tensor.data");
_Static_assert(sizeof(struct ggml_backend) == 0x98, "ggml_backend");
_Static_assert(sizeof(struct ggml_backend_device) == 136, "ggml_backend_device");
_Static_assert(sizeof(struct ggml_backend_reg) == 48, "ggml_backend_reg");
_Static_assert(sizeof(struct abi_device_props) == 56, "ggml_backend_dev_props");

#endif
