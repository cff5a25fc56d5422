/* SPDX-License-Identifier: MIT */
#include "safetensors_write.h"

#include "safetensors_read.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t tensor_bytes(const struct safetensor_out * tensor) {
    size_t bytes = safetensors_dtype_bytes(tensor->dtype);
    for (int i = 0; i < tensor->n_dims; i++)
        bytes *= (size_t)tensor->shape[i];
    return bytes;
}

static char * make_header(const struct safetensor_out * tensors, int n_tensors,
                          const struct safetensors_text * metadata, int n_metadata) {
    cJSON * header = cJSON_CreateObject();
    cJSON * texts = cJSON_AddObjectToObject(header, "__metadata__");
    size_t at = 0;
    char * json;
    for (int i = 0; i < n_metadata; i++)
        cJSON_AddStringToObject(texts, metadata[i].key, metadata[i].text);
    for (int i = 0; i < n_tensors; i++) {
        cJSON * entry = cJSON_AddObjectToObject(header, tensors[i].name);
        cJSON *shape, *offsets;
        cJSON_AddStringToObject(entry, "dtype", tensors[i].dtype);
        shape = cJSON_AddArrayToObject(entry, "shape");
        for (int d = 0; d < tensors[i].n_dims; d++)
            cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensors[i].shape[d]));
        offsets = cJSON_AddArrayToObject(entry, "data_offsets");
        cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)at));
        at += tensor_bytes(&tensors[i]);
        cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)at));
    }
    json = cJSON_PrintUnformatted(header);
    cJSON_Delete(header);
    return json;
}

static bool write_parts(FILE * file, const char * header, const struct safetensor_out * tensors, int n_tensors) {
    const size_t length = strlen(header), padded = (length + 7) / 8 * 8;
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    bool ok = fwrite(prefix, 1, 8, file) == 8 && fwrite(header, 1, length, file) == length &&
              fwrite("       ", 1, padded - length, file) == padded - length;
    for (int i = 0; ok && i < n_tensors; i++)
        ok = fwrite(tensors[i].data, 1, tensor_bytes(&tensors[i]), file) == tensor_bytes(&tensors[i]);
    return ok;
}

bool safetensors_write(const char * path, const struct safetensor_out * tensors, int n_tensors,
                       const struct safetensors_text * metadata, int n_metadata, char * reason, size_t reason_bytes) {
    char temporary[4096];
    char * header;
    FILE * file;
    bool ok;
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.part%ld", path, (long)getpid()) >= sizeof temporary) {
        snprintf(reason, reason_bytes, "its name is too long");
        return false;
    }
    file = fopen(temporary, "wb");
    if (file == NULL) {
        snprintf(reason, reason_bytes, "cannot be written: %s", strerror(errno));
        return false;
    }
    header = make_header(tensors, n_tensors, metadata, n_metadata);
    ok = header != NULL && write_parts(file, header, tensors, n_tensors);
    free(header);
    ok = fclose(file) == 0 && ok;
    ok = ok && rename(temporary, path) == 0;
    if (!ok) {
        snprintf(reason, reason_bytes, "cannot be written: %s", strerror(errno));
        unlink(temporary);
    }
    return ok;
}
