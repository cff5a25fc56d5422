/* SPDX-License-Identifier: MIT
 * Where the plug-in of llama.cpp lies. */
#ifndef VATTN_TOOLS_PLUGIN_PATH_H
#define VATTN_TOOLS_PLUGIN_PATH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The absolute path of libggml-vattn.so: $VATTN_PLUGIN if set, else beside the executable, in the library folders next
 * to it, or in the build tree.  False if there is none; then `path` holds the place that was looked at first.
 */
bool plugin_find(char * path, size_t path_bytes);

#endif
