/* SPDX-License-Identifier: MIT
 * The index of a method of comparison, built over some rows. */
#ifndef VATTN_TOOLS_SELECTOR_MAKE_H
#define VATTN_TOOLS_SELECTOR_MAKE_H

#include "methods.h"

/*
 * *selector is NULL if the method needs none: it has our own code, or looks at every key.
 *   layer   whose hash weights to take
 *   moment  second moment of the queries, may be NULL
 * Returns the library's verdict; wrong combinations of parameters and unreadable weights end the program with one line.
 */
enum vattn_status selector_try(const struct vattn_plan * plan, const struct method_parameters * parameters,
                               const struct vattn_kv * kv, int32_t layer, const float * moment,
                               struct vattn_selector ** selector);

/* The same; a refusal ends the program with one line that begins with `what`, the name of a capture. */
struct vattn_selector * selector_make(const struct vattn_plan * plan, const struct method_parameters * parameters,
                                      const struct vattn_kv * kv, int32_t layer, const float * moment,
                                      const char * what);

#endif
