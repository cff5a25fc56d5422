/* SPDX-License-Identifier: MIT */
#include "vattn.h"

#include <string.h>

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

const char * vattn_version(void) {
    return STRINGIFY(VATTN_VERSION_MAJOR) "." STRINGIFY(VATTN_VERSION_MINOR) "." STRINGIFY(VATTN_VERSION_PATCH);
}

const char * vattn_status_name(enum vattn_status status) {
    switch (status) {
    case VATTN_STATUS_OK:
        return "ok";
    case VATTN_STATUS_UNCERTIFIED:
        return "uncertified";
    case VATTN_STATUS_INVALID_ARGUMENT:
        return "invalid argument";
    case VATTN_STATUS_UNSUPPORTED:
        return "unsupported";
    case VATTN_STATUS_NO_MEMORY:
        return "no memory";
    case VATTN_STATUS_NOT_FINITE:
        return "not finite";
    case VATTN_STATUS_NOT_CALIBRATED:
        return "not calibrated";
    }
    return "unknown status";
}

static const char * const method_names[VATTN_METHOD_COUNT] = {
    [VATTN_METHOD_EXACT] = "exact",
    [VATTN_METHOD_SPARSE] = "sparse",
    [VATTN_METHOD_PAPER_D] = "paper-d",
    [VATTN_METHOD_SPARSE_STRICT] = "sparse-strict",
    [VATTN_METHOD_PAPER_N] = "paper-n",
    [VATTN_METHOD_PAPER_SDPA] = "paper-sdpa",
    [VATTN_METHOD_HUB] = "hub",
    [VATTN_METHOD_SINK_WINDOW] = "sink-window",
    [VATTN_METHOD_TOPK_ORACLE] = "topk-oracle",
    [VATTN_METHOD_TOPP_ORACLE] = "topp-oracle",
    [VATTN_METHOD_UNIFORM] = "uniform",
    [VATTN_METHOD_QUEST] = "quest",
    [VATTN_METHOD_DOUBLE_SPARSITY] = "double-sparsity",
    [VATTN_METHOD_PQ] = "pq",
    [VATTN_METHOD_HASH] = "hash",
    [VATTN_METHOD_MAGICPIG] = "magicpig",
    [VATTN_METHOD_SOCKET] = "socket",
};
static const char * const scope_names[] = {"head", "layer", "token"};

static int name_index(const char * const * names, int n, const char * name) {
    for (int i = 0; name != NULL && i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

const char * vattn_method_name(enum vattn_method method) {
    return (unsigned)method < VATTN_METHOD_COUNT ? method_names[method] : "unknown method";
}

const char * vattn_scope_name(enum vattn_scope scope) {
    return (unsigned)scope < 3 ? scope_names[scope] : "unknown scope";
}

bool vattn_method_parse(const char * name, enum vattn_method * out) {
    int i = name_index(method_names, VATTN_METHOD_COUNT, name);
    if (i >= 0) {
        *out = (enum vattn_method)i;
    }
    return i >= 0;
}

bool vattn_scope_parse(const char * name, enum vattn_scope * out) {
    int i = name_index(scope_names, 3, name);
    if (i >= 0) {
        *out = (enum vattn_scope)i;
    }
    return i >= 0;
}
