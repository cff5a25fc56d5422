/* SPDX-License-Identifier: MIT
 * The registry of methods as the user meets it: names, parameters, source. */
#ifndef VATTN_TOOLS_METHODS_H
#define VATTN_TOOLS_METHODS_H

#include <stdbool.h>
#include <vattn.h>

struct method_entry {
    const char * name;
    enum vattn_method method;
    bool has_index;
    const char * summary;
    const char * parameters;
    const char * source;
};

extern const struct method_entry method_table[];
extern const int method_count;

/* NULL if the name is unknown. */
const struct method_entry * method_find(const char * name);

/* Parse a method's name for a flag, or end the program with one line that lists the names. */
enum vattn_method method_must_parse(const char * flag, const char * name);
enum vattn_scope scope_must_parse(const char * flag, const char * name);

/* Kernel tiers that VATTN_DISABLE_CPU leaves out, or the end of the program with one line. */
uint32_t method_disabled_tiers(void);

/*
 * Apply one "key=value" of --param to the options, or end the program with one line.
 *   sink, window, topk, base   rows; a fraction up to 1 is of n (sink and window: whole numbers, 0 = none)
 *   min_keys, max_rows, max_looks, code_bits, escape, n_layers   as in vattn.h
 *   selector                   of paper-d; today only topk-oracle
 */
void method_set_parameter(struct vattn_options * options, const char * assignment);

#endif
