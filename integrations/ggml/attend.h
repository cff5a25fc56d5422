/* Attention of decoding: one library call for each query row. */
#ifndef PLUG_ATTEND_H
#define PLUG_ATTEND_H

#include "cache.h"
#include "mask.h"

/* One backend of the host: one of its contexts. */
struct plug_context {
    int32_t n_threads;
    uint64_t epoch;  /* + 1 whenever a new graph may run: masks are read anew */
    uint64_t builds; /* plug_claim_builds() at the last look */
    struct plug_layer * layers;
    const struct plug_layer * first_layer; /* whose calls count the tokens */
    uint64_t n_alarms;                     /* rows found changed behind our back */
    struct plug_masks masks;
    struct ggml_backend * cpu; /* the host's own CPU backend, private to us: prompts and whatever we cannot do */
    void (*cpu_set_n_threads)(struct ggml_backend *, int32_t);

    void * work; /* scratch of a call */
    size_t work_bytes;
    float * out; /* result of a node, handed over only when all of it is good */
    size_t out_floats;
    struct vattn_certificate * certs; /* [n_heads] */
    int32_t n_certs;
};

/* Make the layer known.  False: this node, at this moment, is not for us. */
bool plug_attend_prepare(struct plug_context * context, const struct ggml_tensor * node);

/* Read the mask of a prepared node that we want to compute.  False: it holds more than 0 and -inf. */
bool plug_attend_read_mask(struct plug_context * context, const struct ggml_tensor * node);

/* Compute a prepared node.  False: nothing was written. */
bool plug_attend(struct plug_context * context, const struct ggml_tensor * node);

/* The node goes to the CPU backend; what its queries teach is kept. */
void plug_attend_learn(struct plug_context * context, const struct ggml_tensor * node);

void plug_context_free(struct plug_context * context);

#endif
