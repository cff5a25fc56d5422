/* SPDX-License-Identifier: MIT
 * Write a JSON document and free it. */
#ifndef VATTN_TOOLS_JSON_FILE_H
#define VATTN_TOOLS_JSON_FILE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* "-" is stdout.  Not-finite numbers become null.  Frees root in any case. */
bool json_write(const char * path, cJSON * root, char * reason, size_t reason_bytes);

#endif
