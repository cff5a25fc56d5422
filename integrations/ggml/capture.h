/* Real attention inputs of a run, one file a layer (VATTN_CAPTURE; format: safetensors, docs/llama.cpp.md). */
#ifndef PLUG_CAPTURE_H
#define PLUG_CAPTURE_H

#include "cache.h"

/*
 * One decode step of one layer: a single query and the rows that it sees.  The file is written with the last step.
 * A layer whose visible rows are not a growing prefix (a sliding window) cannot be captured and is given up.
 */
void plug_capture_step(struct plug_layer * layer, const struct ggml_tensor * q, const struct vattn_kv * kv,
                       int64_t n_visible);

void plug_capture_free(struct plug_capture * capture);

/* At exit: one line if layers were given up or had too few steps. */
void plug_capture_report(void);

#endif
