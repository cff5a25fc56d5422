/* What the user asked for, read from the environment once, when the host loads the plug-in. */
#ifndef PLUG_OPTIONS_H
#define PLUG_OPTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vattn.h"

struct plug_options {
    bool off;       /* decline everything: VATTN_OFF=1, or a variable that makes no sense */
    bool claim_all; /* VATTN_TEST_CLAIM_ALL=1: also tensors that are no cache, for the host's own tests */
    bool validate;  /* VATTN_TEST_VALIDATE=1: compare all covered rows with the live cache at every call */
    enum vattn_scope scope;
    bool fastest; /* VATTN_FASTEST=0: sample even where exact is expected to be faster */
    double eps, delta;
    uint64_t seed;
    uint32_t disabled_tiers;
    const char * stats;   /* NULL = silent, "-" = a paragraph on stderr, else a file */
    const char * capture; /* directory or NULL */
    int32_t capture_steps, capture_skip;
};

extern struct plug_options plug_options;

/* The method may change between graphs (vattn_set_method). */
extern _Atomic(int) plug_method;

void plug_options_read(void);

/* Methods that work on the code of the keys. */
static inline bool plug_uses_index(enum vattn_method method) {
    return method == VATTN_METHOD_SPARSE || method == VATTN_METHOD_SPARSE_STRICT;
}

#endif
