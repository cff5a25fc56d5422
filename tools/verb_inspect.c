/* SPDX-License-Identifier: MIT
 * vattn inspect: what a capture, or a file of answers, holds, and whether it is sound. */
#include "capture_file.h"
#include "complain.h"
#include "half.h"
#include "options.h"
#include "verbs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct inspect_request {
    char ** paths;
    int n_paths;
};

struct statistics {
    int64_t n_finite, n_nan, n_infinite;
    double min, max, mean, sd;
};

/* Element i as a double; false if the dtype has no numbers that we read. */
static bool element(const struct safetensor * tensor, int64_t i, double * value) {
    const char * dtype = tensor->dtype;
    uint32_t bits;
    float single;
    if (strcmp(dtype, "F32") == 0)
        *value = (double)((const float *)tensor->data)[i];
    else if (strcmp(dtype, "F16") == 0)
        *value = (double)half_to_float(((const uint16_t *)tensor->data)[i]);
    else if (strcmp(dtype, "BF16") == 0) {
        bits = (uint32_t)((const uint16_t *)tensor->data)[i] << 16;
        memcpy(&single, &bits, sizeof single);
        *value = (double)single;
    } else if (strcmp(dtype, "F64") == 0)
        *value = ((const double *)tensor->data)[i];
    else if (strcmp(dtype, "I64") == 0)
        *value = (double)((const int64_t *)tensor->data)[i];
    else if (strcmp(dtype, "I32") == 0)
        *value = (double)((const int32_t *)tensor->data)[i];
    else if (strcmp(dtype, "U8") == 0 || strcmp(dtype, "BOOL") == 0)
        *value = (double)((const uint8_t *)tensor->data)[i];
    else
        return false;
    return true;
}

static struct statistics statistics_of(const struct safetensor * tensor) {
    struct statistics s = {.min = INFINITY, .max = -INFINITY};
    double square = 0, x = 0;
    for (int64_t i = 0; i < tensor->n_elements && element(tensor, i, &x); i++) {
        double delta;
        if (!isfinite(x)) {
            s.n_nan += isnan(x);
            s.n_infinite += isinf(x) != 0;
            continue;
        }
        s.n_finite++;
        s.min = fmin(s.min, x);
        s.max = fmax(s.max, x);
        delta = x - s.mean; /* Welford: stable in one pass */
        s.mean += delta / (double)s.n_finite;
        square += delta * (x - s.mean);
    }
    if (s.n_finite > 0)
        s.sd = sqrt(square / (double)s.n_finite);
    return s;
}

static void print_shape(const struct safetensor * tensor) {
    char text[160];
    int at = snprintf(text, sizeof text, "[");
    for (int d = 0; d < tensor->n_dims; d++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%lld", d ? ", " : "", (long long)tensor->shape[d]);
    snprintf(text + at, sizeof text - (size_t)at, "]");
    printf("  %-16s %-5s %-22s", tensor->name, tensor->dtype, text);
}

/* Prints one line; returns the number of values that are not finite. */
static int64_t print_tensor(const struct safetensor * tensor) {
    const struct statistics s = statistics_of(tensor);
    print_shape(tensor);
    if (s.n_finite > 0)
        printf(" min %.4g  mean %.4g  max %.4g  sd %.4g", s.min, s.mean, s.max, s.sd);
    if (s.n_nan + s.n_infinite > 0)
        printf("  NaN %lld  infinite %lld", (long long)s.n_nan, (long long)s.n_infinite);
    printf("\n");
    return s.n_nan + s.n_infinite;
}

static void print_metadata(const struct safetensors * file) {
    for (int i = 0; i < file->n_metadata; i++)
        printf("  %s: %.200s\n", file->metadata[i].key, file->metadata[i].text);
}

static int64_t print_tensors(const struct safetensors * file) {
    int64_t not_finite = 0;
    for (int i = 0; i < file->n_tensors; i++)
        not_finite += print_tensor(&file->tensors[i]);
    return not_finite;
}

static int inspect_capture(const char * path) {
    struct capture capture;
    int64_t not_finite;
    capture_must_open(path, &capture);
    printf("%s: capture of layer %d, %d steps, %d heads on %d KV heads, head_dim %d, v_dim %d, %lld keys, scale %g\n",
           path, capture.layer, capture.n_steps, capture.n_heads, capture.n_kv_heads, capture.head_dim, capture.v_dim,
           (long long)capture.n_keys, (double)capture.scale);
    print_metadata(&capture.file);
    not_finite = print_tensors(&capture.file);
    printf("  keys per step:");
    for (int32_t i = 0; i < capture.n_steps; i++)
        printf(" %d", capture.n[i]);
    printf("\n");
    capture_close(&capture);
    if (not_finite > 0)
        complain("%s: %lld values are NaN or infinite; make the capture again", path, (long long)not_finite);
    return not_finite > 0 ? EXIT_USAGE : EXIT_FINE;
}

/* A file of answers: bound may be infinite, outputs may not. */
static int inspect_answers(const char * path, const struct safetensors * file) {
    const struct safetensor * status = safetensors_find(file, "status");
    const struct safetensor * out = safetensors_find(file, "out");
    int64_t count[3] = {0, 0, 0};
    struct statistics s;
    printf("%s: answers\n", path);
    print_metadata(file);
    print_tensors(file);
    if (strcmp(status->dtype, "U8") != 0) {
        complain("%s: tensor 'status' must be U8; make the file with 'vattn attend'", path);
        return EXIT_USAGE;
    }
    for (int64_t i = 0; i < status->n_elements; i++) {
        const uint8_t value = ((const uint8_t *)status->data)[i];
        count[value < 2 ? value : 2]++;
    }
    printf("  heads: %lld certified, %lld exact, %lld uncertified\n", (long long)count[1], (long long)count[0],
           (long long)count[2]);
    s = statistics_of(out);
    if (s.n_nan + s.n_infinite == 0)
        return EXIT_FINE;
    complain("%s: 'out' holds NaN or infinite values; make the file again with 'vattn attend'", path);
    return EXIT_USAGE;
}

static int inspect(const char * path) {
    struct safetensors file;
    char reason[256];
    int code = EXIT_FINE;
    if (!safetensors_open(path, &file, reason, sizeof reason))
        give_up("%s: %s; copy or make the file again", path, reason);
    if (safetensors_find(&file, "status") != NULL && safetensors_find(&file, "out") != NULL)
        code = inspect_answers(path, &file);
    else
        code = inspect_capture(path);
    safetensors_close(&file);
    return code;
}

static error_t parse(int key, char * text, struct argp_state * state) {
    struct inspect_request * request = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        request->paths[request->n_paths++] = text;
        return 0;
    case ARGP_KEY_END:
        if (request->n_paths == 0)
            give_up("FILE is missing; try 'vattn inspect layer09.safetensors'");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] = "Show what a capture or a file of answers holds and check it."
                          "\vExamples:\n"
                          "  vattn inspect layer09.safetensors\n"
                          "      shapes, metadata, keys per step, range of every tensor\n"
                          "  vattn inspect answers.safetensors\n"
                          "      what 'vattn attend' wrote\n"
                          "\n"
                          "Exit code: 0, 2 if a file is malformed or holds NaN or infinite values where it must not.";

int verb_inspect(int argc, char ** argv) {
    static const struct argp argp = {NULL, parse, "FILE...", doc, NULL, NULL, NULL};
    struct inspect_request request = {.paths = must_alloc((size_t)argc, sizeof(char *))};
    int code = EXIT_FINE;
    parse_arguments(&argp, argc, argv, &request);
    for (int i = 0; i < request.n_paths; i++)
        if (inspect(request.paths[i]) != EXIT_FINE)
            code = EXIT_USAGE;
    return code;
}
