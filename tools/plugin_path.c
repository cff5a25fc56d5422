/* SPDX-License-Identifier: MIT */
#include "plugin_path.h"

#include "complain.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool absolute_if_readable(const char * candidate, char * path, size_t path_bytes) {
    char resolved[PATH_MAX];
    if (access(candidate, R_OK) != 0 || realpath(candidate, resolved) == NULL || strlen(resolved) >= path_bytes)
        return false;
    memcpy(path, resolved, strlen(resolved) + 1);
    return true;
}

bool plugin_find(char * path, size_t path_bytes) {
    static const char libdir[] = "../" VATTN_LIBDIR "/vattn";
    static const char * const places[] = {".", libdir, "../lib/vattn", "../lib", "../integrations/ggml"};
    const char * wanted = getenv("VATTN_PLUGIN");
    char self[PATH_MAX], candidate[PATH_MAX + 64];
    ssize_t length;
    if (wanted != NULL && *wanted != 0) {
        snprintf(path, path_bytes, "%s", wanted);
        return absolute_if_readable(wanted, path, path_bytes);
    }
    length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = 0;
    dirname(self);
    snprintf(path, path_bytes, "%s/libggml-vattn.so", self);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(candidate, sizeof candidate, "%s/%s/libggml-vattn.so", self, places[i]);
        if (absolute_if_readable(candidate, path, path_bytes))
            return true;
    }
    return false;
}
