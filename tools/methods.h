/* SPDX-License-Identifier: MIT
 * The registry of methods as the user meets it: names, parameters, source. */
#ifndef VATTN_TOOLS_METHODS_H
#define VATTN_TOOLS_METHODS_H

#include <stdbool.h>
#include <vattn_experimental.h>

/* What rows are found with. */
enum method_index {
    INDEX_NONE,     /* nothing is kept */
    INDEX_CODE,     /* our code of the keys */
    INDEX_SELECTOR, /* an index of its own */
    INDEX_CHOICE    /* any of those, --param selector */
};

struct method_entry {
    const char * name;
    enum vattn_method method;
    enum method_index index;
    const char * summary;
    const char * parameters;
    const char * source;
};

extern const struct method_entry method_table[];
extern const int method_count;

/* NULL if the name is unknown. */
const struct method_entry * method_find(const char * name);
const struct method_entry * method_entry_of(enum vattn_method method);

/* Parse a method's name for a flag, or end the program with one line that lists the names. */
enum vattn_method method_must_parse(const char * flag, const char * name);
enum vattn_scope scope_must_parse(const char * flag, const char * name);

/* Kernel tiers that VATTN_DISABLE_CPU leaves out, or the end of the program with one line. */
uint32_t method_disabled_tiers(void);

/* Parameters that struct vattn_options does not have. */
struct method_parameters {
    struct vattn_selector_options selector; /* kind EXACT: the method's own, or exact scores */
    double sink_share, window_share;        /* of n; 0 = as in the options */
    const char * hash_weights;              /* a safetensors file, see hash_weights.h; NULL = random hyperplanes */
};

/* The defaults: everything zero. */
struct method_parameters method_parameters_init(void);

/*
 * Apply one "key=value" of --param, or end the program with one line.
 *   sink, window, topk, base   rows: a number of them, or below 1 a share of n; 0 = none
 *   selector                   of paper-* and hub: the name of a method with an index
 *   hash_weights               the name of a file; must outlive *parameters
 *   all others                 as in vattn.h and vattn_experimental.h
 * parameters NULL: keys that need it are refused.
 */
void method_set_parameter(struct vattn_options * options, struct method_parameters * parameters,
                          const char * assignment);

#endif
