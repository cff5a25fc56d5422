#include "capture.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host.h"
#include "options.h"
#include "queries.h"

enum capture_state { COLLECTING, WRITTEN, GIVEN_UP };

struct plug_capture {
    enum capture_state state;
    int32_t n_skipped, n_steps;
    float * q;          /* [steps][n_heads][head_dim] */
    int32_t * n;        /* [steps] */
    uint64_t * visible; /* rows that the last step saw, one bit each */
    int64_t n_keys;     /* one more than the last of them */
};

static atomic_int n_collecting, n_written, n_given_up;

/* ------------------------------------------------------------------------------------------------------ collecting */

static size_t query_floats(const struct plug_layer * layer) {
    return (size_t)layer->options.n_heads * (size_t)layer->options.head_dim;
}

static size_t visible_words(const struct plug_layer * layer) {
    return (size_t)(layer->capacity + 63) / 64;
}

static struct plug_capture * capture_create(const struct plug_layer * layer) {
    const size_t steps = (size_t)plug_options.capture_steps;
    struct plug_capture * capture = calloc(1, sizeof(*capture));
    if (capture == NULL) {
        return NULL;
    }
    capture->q = malloc(steps * query_floats(layer) * sizeof(float));
    capture->n = malloc(steps * sizeof(int32_t));
    capture->visible = calloc(visible_words(layer), sizeof(uint64_t));
    if (capture->q == NULL || capture->n == NULL || capture->visible == NULL) {
        plug_capture_free(capture);
        return NULL;
    }
    atomic_fetch_add(&n_collecting, 1);
    return capture;
}

void plug_capture_free(struct plug_capture * capture) {
    if (capture != NULL) {
        free(capture->q);
        free(capture->n);
        free(capture->visible);
        free(capture);
    }
}

static void capture_end(struct plug_capture * capture, enum capture_state state) {
    capture->state = state;
    atomic_fetch_sub(&n_collecting, 1);
    atomic_fetch_add(state == WRITTEN ? &n_written : &n_given_up, 1);
}

static uint64_t word_below(int64_t n_keys, int64_t w) {
    const int64_t n = n_keys - w * 64;
    return n >= 64 ? ~(uint64_t)0 : n > 0 ? ((uint64_t)1 << n) - 1 : 0;
}

/* Take over the visible rows; false unless the rows seen before are exactly the first of those seen now. */
static bool grow_visible(struct plug_capture * capture, const struct vattn_kv * kv) {
    const int64_t n_words = (kv->n_keys + 63) / 64;
    if (kv->n_keys < capture->n_keys) {
        return false;
    }
    for (int64_t w = 0; w < n_words; w++) {
        const uint64_t now = kv->visible != NULL ? kv->visible[w] : word_below(kv->n_keys, w);
        if ((now & word_below(capture->n_keys, w)) != capture->visible[w]) {
            return false;
        }
        capture->visible[w] = now;
    }
    capture->n_keys = kv->n_keys;
    return true;
}

static void collect(const struct plug_layer * layer, struct plug_capture * capture, const struct ggml_tensor * q,
                    int64_t n_visible) {
    const size_t head_floats = (size_t)layer->options.head_dim;
    float * to = capture->q + (size_t)capture->n_steps * query_floats(layer);
    for (int32_t h = 0; h < layer->options.n_heads; h++) {
        memcpy(to + (size_t)h * head_floats, (const char *)q->data + (size_t)h * q->nb[2], head_floats * sizeof(float));
    }
    capture->n[capture->n_steps++] = (int32_t)n_visible;
}

/* --------------------------------------------------------------------------------------------------------- writing */

struct header {
    char text[4096];
    size_t length;
    size_t offset; /* of the next tensor in the data */
};

static void header_tensor(struct header * header, const char * name, const char * type, const char * shape,
                          size_t bytes) {
    const size_t room = sizeof(header->text) - header->length;
    const int n = snprintf(header->text + header->length, room,
                           ", \"%s\": {\"dtype\": \"%s\", \"shape\": [%s], \"data_offsets\": [%zu, %zu]}", name, type,
                           shape, header->offset, header->offset + bytes);
    header->length += n > 0 ? (size_t)n : 0;
    header->offset += bytes;
}

/* A word of the user for the metadata, without characters that JSON would mind. */
static const char * metadata_value(const char * variable, char * buf, size_t cap) {
    const char * value = getenv(variable);
    snprintf(buf, cap, "%s", value != NULL ? value : "");
    for (char * c = buf; *c != '\0'; c++) {
        *c = *c == '"' || *c == '\\' || (unsigned char)*c < ' ' ? '_' : *c;
    }
    return buf;
}

static void header_metadata(struct header * header, const struct plug_layer * layer) {
    char model[256];
    char text[256];
    const int n = snprintf(header->text, sizeof(header->text),
                           "{\"__metadata__\": {\"scale\": \"%.9g\", \"layer\": \"%d\", \"model\": \"%s\", \"text\": "
                           "\"%s\"}",
                           (double)layer->options.scale, layer->number,
                           metadata_value("VATTN_CAPTURE_MODEL", model, sizeof(model)),
                           metadata_value("VATTN_CAPTURE_TEXT", text, sizeof(text)));
    header->length = n > 0 ? (size_t)n : 0;
}

static void header_build(struct header * header, const struct plug_layer * layer, bool has_moment) {
    const struct vattn_options * o = &layer->options;
    const struct plug_capture * capture = layer->capture;
    const size_t steps = (size_t)capture->n_steps;
    const size_t rows = (size_t)capture->n[steps - 1] * (size_t)o->n_kv_heads;
    char shape[96];
    header_metadata(header, layer);
    snprintf(shape, sizeof(shape), "%zu, %d, %d", steps, o->n_heads, o->head_dim);
    header_tensor(header, "q", "F32", shape, steps * query_floats(layer) * sizeof(float));
    snprintf(shape, sizeof(shape), "%zu", steps);
    header_tensor(header, "n", "I32", shape, steps * sizeof(int32_t));
    snprintf(shape, sizeof(shape), "%d, %d, %d", o->n_kv_heads, capture->n[steps - 1], o->head_dim);
    header_tensor(header, "k", "F16", shape, rows * (size_t)o->head_dim * 2);
    snprintf(shape, sizeof(shape), "%d, %d, %d", o->n_kv_heads, capture->n[steps - 1], o->v_dim);
    header_tensor(header, "v", "F16", shape, rows * (size_t)o->v_dim * 2);
    if (has_moment) {
        snprintf(shape, sizeof(shape), "%d, %d, %d", o->n_kv_heads, o->head_dim, o->head_dim);
        header_tensor(header, "q_second_moment", "F32", shape,
                      (size_t)o->n_kv_heads * (size_t)o->head_dim * (size_t)o->head_dim * sizeof(float));
    }
    header->text[header->length++] = '}';
    while (header->length % 8 != 0) {
        header->text[header->length++] = ' ';
    }
}

static void write_rows(FILE * file, const struct plug_capture * capture, const char * base, size_t row_stride,
                       enum vattn_type type, int32_t dim) {
    uint16_t half[576];
    float wide[576];
    for (int64_t row = 0; row < capture->n_keys; row++) {
        if ((capture->visible[row >> 6] >> (row & 63) & 1) == 0) {
            continue;
        }
        const void * from = base + (size_t)row * row_stride;
        if (type != VATTN_TYPE_F16) {
            vattn_row_read(type, from, dim, wide);
            plug_host.f32_to_f16(wide, half, dim);
            from = half;
        }
        fwrite(from, 2, (size_t)dim, file);
    }
}

static void write_tensors(FILE * file, const struct plug_layer * layer, const struct vattn_kv * kv,
                          const float * moment) {
    const struct vattn_options * o = &layer->options;
    const struct plug_capture * capture = layer->capture;
    fwrite(capture->q, sizeof(float), (size_t)capture->n_steps * query_floats(layer), file);
    fwrite(capture->n, sizeof(int32_t), (size_t)capture->n_steps, file);
    for (int32_t g = 0; g < o->n_kv_heads; g++) {
        write_rows(file, capture, (const char *)kv->k + (size_t)g * kv->k_head_stride, kv->k_row_stride, o->k_type,
                   o->head_dim);
    }
    for (int32_t g = 0; g < o->n_kv_heads; g++) {
        write_rows(file, capture, (const char *)kv->v + (size_t)g * kv->v_head_stride, kv->v_row_stride, o->v_type,
                   o->v_dim);
    }
    if (moment != NULL) {
        fwrite(moment, sizeof(float), (size_t)o->n_kv_heads * (size_t)o->head_dim * (size_t)o->head_dim, file);
    }
}

static bool write_file(const struct plug_layer * layer, const struct vattn_kv * kv) {
    char path[4096];
    mkdir(plug_options.capture, 0777);
    snprintf(path, sizeof(path), "%s/layer%02d.safetensors", plug_options.capture, layer->number);
    FILE * file = fopen(path, "wb");
    if (file == NULL) {
        fprintf(stderr, "vattn: VATTN_CAPTURE: cannot write %s: %s\n", path, strerror(errno));
        return false;
    }
    float * moment = plug_queries_moment(layer);
    struct header header = {.offset = 0};
    header_build(&header, layer, moment != NULL);
    const uint64_t length = header.length; /* little-endian, like everything in the file */
    fwrite(&length, sizeof(length), 1, file);
    fwrite(header.text, 1, header.length, file);
    write_tensors(file, layer, kv, moment);
    free(moment);
    const bool written = ferror(file) == 0;
    return fclose(file) == 0 && written;
}

/* ------------------------------------------------------------------------------------------------------------- all */

void plug_capture_step(struct plug_layer * layer, const struct ggml_tensor * q, const struct vattn_kv * kv,
                       int64_t n_visible) {
    if (layer->capture == NULL) {
        layer->capture = capture_create(layer);
    }
    struct plug_capture * capture = layer->capture;
    if (capture == NULL || capture->state != COLLECTING) {
        return;
    }
    if (capture->n_skipped < plug_options.capture_skip) {
        capture->n_skipped++;
        return;
    }
    if (!grow_visible(capture, kv)) {
        capture_end(capture, GIVEN_UP);
        return;
    }
    collect(layer, capture, q, n_visible);
    if (capture->n_steps == plug_options.capture_steps) {
        capture_end(capture, write_file(layer, kv) ? WRITTEN : GIVEN_UP);
    }
}

void plug_capture_report(void) {
    const int incomplete = atomic_load(&n_collecting);
    const int given_up = atomic_load(&n_given_up);
    if (plug_options.capture != NULL && !plug_options.off && (incomplete > 0 || given_up > 0)) {
        fprintf(stderr,
                "vattn: VATTN_CAPTURE: %d layers written, %d had fewer than %d decode steps, %d given up (rows "
                "are not a growing prefix, or not writable)\n",
                atomic_load(&n_written), incomplete, plug_options.capture_steps, given_up);
    }
}
