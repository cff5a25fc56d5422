/* SPDX-License-Identifier: MIT */
#include "json_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool json_write(const char * path, cJSON * root, char * reason, size_t reason_bytes) {
    char * text = cJSON_Print(root);
    const bool is_stdout = strcmp(path, "-") == 0;
    FILE * file = is_stdout ? stdout : fopen(path, "w");
    bool ok = file != NULL && text != NULL && fputs(text, file) >= 0 && fputc('\n', file) >= 0;
    if (file != NULL)
        ok = (is_stdout ? fflush(file) : fclose(file)) == 0 && ok;
    if (!ok)
        snprintf(reason, reason_bytes, "cannot be written: %s", strerror(errno));
    free(text);
    cJSON_Delete(root);
    return ok;
}
