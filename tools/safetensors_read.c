/* SPDX-License-Identifier: MIT */
#include "safetensors_read.h"

#include "complain.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t MAX_HEADER_BYTES = 100u << 20; /* the limit of the format's own library */

struct extent {
    uint64_t begin, end;
};

/* What the parsing functions share: where to put the reason, and where the data lies. */
struct parse {
    struct safetensors * file;
    struct extent * extents; /* [n_tensors], within the data */
    const uint8_t * data;
    uint64_t data_bytes;
    char * reason;
    size_t reason_bytes;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct parse * parse, const char * format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(parse->reason, parse->reason_bytes, format, args);
    va_end(args);
    return false;
}

size_t safetensors_dtype_bytes(const char * dtype) {
    static const struct {
        const char * name;
        size_t bytes;
    } table[] = {{"F64", 8}, {"I64", 8}, {"U64", 8},  {"F32", 4},     {"I32", 4},
                 {"U32", 4}, {"F16", 2}, {"BF16", 2}, {"I16", 2},     {"U16", 2},
                 {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(dtype, table[i].name) == 0)
            return table[i].bytes;
    return 0;
}

/* A JSON number that is a whole, non-negative and exactly represented integer. */
static bool whole_number(const cJSON * item, uint64_t * out) {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > 0x1p53 ||
        item->valuedouble != floor(item->valuedouble))
        return false;
    *out = (uint64_t)item->valuedouble;
    return true;
}

static bool read_shape(struct parse * parse, const cJSON * shape, struct safetensor * tensor, uint64_t * bytes) {
    const cJSON * item;
    int64_t n_elements = 1;
    int n_dims = 0;
    if (!cJSON_IsArray(shape))
        return refuse(parse, "tensor '%.40s' has no shape", tensor->name);
    cJSON_ArrayForEach(item, shape) {
        uint64_t length = 0;
        if (n_dims == SAFETENSORS_MAX_DIMS)
            return refuse(parse, "tensor '%.40s' has more than %d dimensions", tensor->name, SAFETENSORS_MAX_DIMS);
        if (!whole_number(item, &length))
            return refuse(parse, "tensor '%.40s' has a length in its shape that is not a whole number", tensor->name);
        tensor->shape[n_dims++] = (int64_t)length;
        if (__builtin_mul_overflow(n_elements, (int64_t)length, &n_elements))
            return refuse(parse, "the shape of tensor '%.40s' overflows", tensor->name);
    }
    if (__builtin_mul_overflow((uint64_t)n_elements, (uint64_t)tensor->element_bytes, bytes))
        return refuse(parse, "the size of tensor '%.40s' overflows", tensor->name);
    tensor->n_dims = n_dims;
    tensor->n_elements = n_elements;
    return true;
}

/* The file may hold tensors at odd addresses; C may not read them there. */
static const void * aligned_data(struct safetensor * tensor, const uint8_t * data, uint64_t bytes) {
    if ((uintptr_t)data % tensor->element_bytes == 0)
        return data;
    tensor->copy = must_alloc(bytes, 1);
    memcpy(tensor->copy, data, bytes);
    return tensor->copy;
}

static bool read_tensor(struct parse * parse, const cJSON * item, struct safetensor * tensor, struct extent * extent) {
    const cJSON * dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const cJSON * offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    uint64_t bytes = 0;
    if (!cJSON_IsObject(item) || !cJSON_IsString(dtype))
        return refuse(parse, "tensor '%.40s' has no dtype", tensor->name);
    tensor->element_bytes = safetensors_dtype_bytes(dtype->valuestring);
    if (tensor->element_bytes == 0)
        return refuse(parse, "tensor '%.40s' has the unknown dtype '%.12s'", tensor->name, dtype->valuestring);
    snprintf(tensor->dtype, sizeof tensor->dtype, "%s", dtype->valuestring);
    if (!read_shape(parse, cJSON_GetObjectItemCaseSensitive(item, "shape"), tensor, &bytes))
        return false;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !whole_number(cJSON_GetArrayItem(offsets, 0), &extent->begin) ||
        !whole_number(cJSON_GetArrayItem(offsets, 1), &extent->end) || extent->begin > extent->end)
        return refuse(parse, "tensor '%.40s' has no valid data_offsets", tensor->name);
    if (extent->end > parse->data_bytes)
        return refuse(parse, "tensor '%.40s' ends at byte %llu of the data, the file holds %llu; it is truncated",
                      tensor->name, (unsigned long long)extent->end, (unsigned long long)parse->data_bytes);
    if (extent->end - extent->begin != bytes)
        return refuse(parse, "tensor '%.40s' occupies %llu bytes, its shape and dtype need %llu", tensor->name,
                      (unsigned long long)(extent->end - extent->begin), (unsigned long long)bytes);
    tensor->data = aligned_data(tensor, parse->data + extent->begin, bytes);
    return true;
}

static bool read_metadata(struct parse * parse, const cJSON * object) {
    const cJSON * item;
    if (!cJSON_IsObject(object))
        return refuse(parse, "__metadata__ is not an object");
    if (parse->file->metadata != NULL)
        return refuse(parse, "__metadata__ appears twice");
    parse->file->metadata = must_alloc((size_t)cJSON_GetArraySize(object) + 1, sizeof *parse->file->metadata);
    cJSON_ArrayForEach(item, object) {
        struct safetensors_pair * pair = &parse->file->metadata[parse->file->n_metadata];
        if (!cJSON_IsString(item))
            return refuse(parse, "metadata '%.40s' is not a text", item->string);
        pair->key = strdup(item->string);
        pair->text = strdup(item->valuestring);
        parse->file->n_metadata++;
    }
    return true;
}

static int by_begin(const void * a, const void * b) {
    const struct extent *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* The format wants the tensors to tile the data: no overlap, no hole. */
static bool check_tiling(struct parse * parse) {
    uint64_t at = 0;
    qsort(parse->extents, (size_t)parse->file->n_tensors, sizeof *parse->extents, by_begin);
    for (int i = 0; i < parse->file->n_tensors; i++) {
        if (parse->extents[i].begin < at)
            return refuse(parse, "two tensors overlap at byte %llu of the data",
                          (unsigned long long)parse->extents[i].begin);
        if (parse->extents[i].begin > at)
            return refuse(parse, "bytes %llu to %llu of the data belong to no tensor", (unsigned long long)at,
                          (unsigned long long)parse->extents[i].begin);
        at = parse->extents[i].end;
    }
    if (at != parse->data_bytes)
        return refuse(parse, "%llu bytes follow the last tensor", (unsigned long long)(parse->data_bytes - at));
    return true;
}

static bool read_header(struct parse * parse, const cJSON * header) {
    const cJSON * item;
    const size_t room = (size_t)cJSON_GetArraySize(header) + 1;
    parse->file->tensors = must_alloc(room, sizeof *parse->file->tensors);
    parse->extents = must_alloc(room, sizeof *parse->extents);
    cJSON_ArrayForEach(item, header) {
        struct safetensor * tensor = &parse->file->tensors[parse->file->n_tensors];
        if (strcmp(item->string, "__metadata__") == 0) {
            if (!read_metadata(parse, item))
                return false;
            continue;
        }
        if (safetensors_find(parse->file, item->string) != NULL)
            return refuse(parse, "tensor '%.40s' appears twice", item->string);
        tensor->name = strdup(item->string);
        parse->file->n_tensors++;
        if (!read_tensor(parse, item, tensor, &parse->extents[parse->file->n_tensors - 1]))
            return false;
    }
    return check_tiling(parse);
}

static bool parse_file(struct parse * parse) {
    const uint8_t * bytes = parse->file->map;
    uint64_t header_bytes = 0;
    cJSON * header;
    bool ok;
    for (int i = 7; i >= 0; i--)
        header_bytes = header_bytes << 8 | bytes[i];
    if (header_bytes > MAX_HEADER_BYTES || header_bytes > parse->file->map_bytes - 8)
        return refuse(parse,
                      "not a safetensors file, or truncated: its header would be %llu bytes long in a file of %zu",
                      (unsigned long long)header_bytes, parse->file->map_bytes);
    parse->data = bytes + 8 + header_bytes;
    parse->data_bytes = parse->file->map_bytes - 8 - header_bytes;
    header = cJSON_ParseWithLength((const char *)bytes + 8, header_bytes);
    if (!cJSON_IsObject(header)) {
        cJSON_Delete(header);
        return refuse(parse, "not a safetensors file: its header is not JSON");
    }
    ok = read_header(parse, header);
    cJSON_Delete(header);
    free(parse->extents);
    return ok;
}

static bool map_file(const char * path, struct parse * parse) {
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refuse(parse, "cannot be opened: %s", strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return refuse(parse, "is not a regular file");
    }
    if (info.st_size < 8) {
        close(fd);
        return refuse(parse, "not a safetensors file: only %lld bytes long", (long long)info.st_size);
    }
    parse->file->map_bytes = (size_t)info.st_size;
    parse->file->map = mmap(NULL, parse->file->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (parse->file->map == MAP_FAILED) {
        parse->file->map = NULL;
        return refuse(parse, "cannot be mapped: %s", strerror(errno));
    }
    return true;
}

bool safetensors_open(const char * path, struct safetensors * file, char * reason, size_t reason_bytes) {
    struct parse parse = {.file = file, .reason = reason, .reason_bytes = reason_bytes};
    memset(file, 0, sizeof *file);
    if (map_file(path, &parse) && parse_file(&parse))
        return true;
    safetensors_close(file);
    return false;
}

void safetensors_close(struct safetensors * file) {
    for (int i = 0; i < file->n_tensors; i++) {
        free(file->tensors[i].name);
        free(file->tensors[i].copy);
    }
    for (int i = 0; i < file->n_metadata; i++) {
        free(file->metadata[i].key);
        free(file->metadata[i].text);
    }
    free(file->tensors);
    free(file->metadata);
    if (file->map != NULL)
        munmap(file->map, file->map_bytes);
    memset(file, 0, sizeof *file);
}

const struct safetensor * safetensors_find(const struct safetensors * file, const char * name) {
    for (int i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char * safetensors_metadata(const struct safetensors * file, const char * key) {
    for (int i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].text;
    return NULL;
}
