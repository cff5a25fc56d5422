/* Which nodes of the host's graphs we take. */
#ifndef PLUG_CLAIM_H
#define PLUG_CLAIM_H

#include "abi.h"

/* Query tokens per sequence up to which attention is decoding; longer ones are a prompt and go to the CPU backend. */
enum { PLUG_DECODE_MAX = 8 };

/* The host asks about every node of a graph that it builds, several times. */
bool plug_claim(const struct ggml_tensor * op);

/* Graphs may have changed since this number was another. */
uint64_t plug_claim_builds(void);

static inline float plug_attention_param(const struct ggml_tensor * attention, int32_t i) {
    union {
        int32_t bits;
        float value;
    } param = {attention->op_params[i]};
    return param.value;
}

#endif
