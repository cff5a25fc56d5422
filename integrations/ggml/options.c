#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plug_options plug_options;
_Atomic(int) plug_method;

/* One line, and the host decodes without us: a typing mistake must not silently mean another promise. */
static void refuse(const char * variable, const char * value, const char * expected) {
    fprintf(stderr, "vattn: %s=%.60s is not %s; declining everything\n", variable, value, expected);
    plug_options.off = true;
}

/* Unset and empty both mean the default. */
static const char * value_of(const char * variable) {
    const char * value = getenv(variable);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static double read_share(const char * variable, double fallback, double largest, const char * expected) {
    const char * value = value_of(variable);
    if (value == NULL) {
        return fallback;
    }
    char * end = NULL;
    const double number = strtod(value, &end);
    if (end == value || *end != '\0' || !isfinite(number) || number <= 0 || number > largest) {
        refuse(variable, value, expected);
        return fallback;
    }
    return number;
}

static uint64_t read_count(const char * variable, uint64_t fallback, uint64_t least, uint64_t largest,
                           const char * expected) {
    const char * value = value_of(variable);
    if (value == NULL) {
        return fallback;
    }
    char * end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(value, &end, 10);
    const bool is_number = value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0;
    if (!is_number || number < least || number > largest) {
        refuse(variable, value, expected);
        return fallback;
    }
    return number;
}

static bool read_switch(const char * variable, bool fallback) {
    return read_count(variable, fallback, 0, 1, "0 or 1") == 1;
}

/* Methods of comparison that read an index of their own, which nobody builds here. */
static bool needs_selector(enum vattn_method method) {
    return method >= VATTN_METHOD_QUEST && method <= VATTN_METHOD_SOCKET;
}

static void read_method(void) {
    enum vattn_method method = VATTN_METHOD_SPARSE;
    const char * value = value_of("VATTN_METHOD");
    if (value != NULL && (!vattn_method_parse(value, &method) || needs_selector(method))) {
        refuse("VATTN_METHOD", value, "a method without an index of its own (exact, sparse, paper-d, ...)");
    }
    atomic_store(&plug_method, (int)method);
}

static void read_scope(void) {
    plug_options.scope = VATTN_SCOPE_HEAD;
    const char * value = value_of("VATTN_SCOPE");
    if (value != NULL && !vattn_scope_parse(value, &plug_options.scope)) {
        refuse("VATTN_SCOPE", value, "a scope (head, layer, token)");
    }
}

static void read_tiers(void) {
    const char * value = value_of("VATTN_DISABLE_CPU");
    if (value != NULL && !vattn_tiers_parse(value, &plug_options.disabled_tiers)) {
        refuse("VATTN_DISABLE_CPU", value, "a list of kernel tiers (avx512,avx2,neon)");
    }
}

void plug_options_read(void) {
    memset(&plug_options, 0, sizeof(plug_options));
    read_method();
    read_scope();
    read_tiers();
    plug_options.eps = read_share("VATTN_EPS", 0.05, 1.0 - 1e-9, "in (0, 1) (for no error: VATTN_METHOD=exact)");
    plug_options.delta = read_share("VATTN_DELTA", 0.05, 0.5, "in (0, 0.5]");
    plug_options.fastest = read_switch("VATTN_FASTEST", true);
    plug_options.seed = read_count("VATTN_SEED", 0, 0, UINT64_MAX, "a whole number");
    plug_options.capture_steps = (int32_t)read_count("VATTN_CAPTURE_STEPS", 24, 1, 1 << 20, "a count from 1");
    plug_options.capture_skip = (int32_t)read_count("VATTN_CAPTURE_SKIP", 0, 0, 1 << 30, "a count");
    plug_options.capture = value_of("VATTN_CAPTURE");
    plug_options.stats = value_of("VATTN_STATS");
    plug_options.claim_all = read_switch("VATTN_TEST_CLAIM_ALL", false);
    plug_options.validate = read_switch("VATTN_TEST_VALIDATE", false);
    if (read_switch("VATTN_OFF", false)) {
        plug_options.off = true;
    }
}
