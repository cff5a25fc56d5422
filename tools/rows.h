/* SPDX-License-Identifier: MIT
 * Types of rows by name, and their elements by the definition: what truth is computed from is not read by the library. */
#ifndef VATTN_TOOLS_ROWS_H
#define VATTN_TOOLS_ROWS_H

#include <stddef.h>
#include <vattn.h>

/* "f32", "f16", "bf16", "q8_0"; another word ends the program with one line that names the flag. */
enum vattn_type row_type_must_parse(const char * flag, const char * text);
const char * row_type_name(enum vattn_type type);

/* Element i of a row. */
double row_element(const void * row, enum vattn_type type, size_t i);

#endif
