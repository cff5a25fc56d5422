/* SPDX-License-Identifier: MIT
 * vattn methods: what --method and --param accept, and what each method keeps beside the cache. */
#include "complain.h"
#include "index_size.h"
#include "json_file.h"
#include "options.h"
#include "rows.h"
#include "verbs.h"

#include <stdio.h>
#include <string.h>

struct methods_request {
    const char * capture;
    const char * json;
    bool sizes; /* a shape was given */
    struct index_shape shape;
    struct vattn_options options; /* of --param; only the selector's matter here */
    struct method_parameters parameters;
};

enum { KEY_HEADS = 0x200, KEY_KV_HEADS, KEY_HEAD_DIM, KEY_KEYS, KEY_TYPE, KEY_PARAM, KEY_JSON };

static const struct argp_option options[] = {
    {"heads", KEY_HEADS, "N", 0, "query heads (default 32)", 0},
    {"kv-heads", KEY_KV_HEADS, "N", 0, "KV heads (default 8)", 0},
    {"head-dim", KEY_HEAD_DIM, "N", 0, "length of a row (default 128)", 0},
    {"keys", KEY_KEYS, "N", 0, "keys (default 32768)", 0},
    {"type", KEY_TYPE, "f16|f32", 0, "elements (default f16)", 0},
    {"param", KEY_PARAM, "KEY=VALUE", 0, "a parameter of an index, may be repeated", 0},
    {"json", KEY_JSON, "FILE", 0, "write the list as JSON; - is stdout", 0},
    {0},
};

static error_t parse(int key, char * text, struct argp_state * state) {
    struct methods_request * request = state->input;
    struct index_shape * shape = &request->shape;
    request->sizes |= key >= KEY_HEADS && key <= KEY_PARAM;
    switch (key) {
    case KEY_HEADS:
        shape->n_heads = (int32_t)flag_whole("--heads", text, 1, 16384);
        return 0;
    case KEY_KV_HEADS:
        shape->n_kv_heads = (int32_t)flag_whole("--kv-heads", text, 1, 16383);
        return 0;
    case KEY_HEAD_DIM:
        shape->head_dim = (int32_t)flag_whole("--head-dim", text, 1, 576);
        return 0;
    case KEY_KEYS:
        shape->n_keys = flag_whole("--keys", text, 1, INT32_MAX);
        return 0;
    case KEY_TYPE:
        shape->type = row_type_must_parse("--type", text);
        return 0;
    case KEY_PARAM:
        method_set_parameter(&request->options, &request->parameters, text);
        return 0;
    case KEY_JSON:
        request->json = text;
        return 0;
    case ARGP_KEY_ARG:
        if (request->capture != NULL)
            give_up("%s: methods takes one capture; call it once per file", text);
        request->capture = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Bytes per key, or a negative number, see index_size.h. */
static double size_of(const struct methods_request * request, const struct method_entry * entry,
                      const struct capture * capture) {
    return capture != NULL ? index_size_of_capture(entry, &request->parameters, capture)
                           : index_size_of_shape(entry, &request->parameters, &request->shape);
}

static double row_bytes(const struct methods_request * request, const struct capture * capture) {
    const struct index_shape * s = &request->shape;
    if (capture != NULL)
        return capture->n_kv_heads * (double)capture_row_bytes(capture);
    return s->n_kv_heads * 2.0 * (double)vattn_row_bytes(s->type, s->head_dim);
}

static const char * index_text(const struct method_entry * entry) {
    static const char * const texts[] = {[INDEX_NONE] = "none",
                                         [INDEX_CODE] = "a code of the keys",
                                         [INDEX_SELECTOR] = "its own",
                                         [INDEX_CHOICE] = "the selector's"};
    return texts[entry->index];
}

static void print_method(const struct method_entry * m, bool sizes, double bytes, double row) {
    printf("%s\n    %s\n    parameters: %s\n    source: %s\n    index: %s", m->name, m->summary, m->parameters, m->source,
           index_text(m));
    if (sizes && bytes > 0)
        printf(", %.1f bytes per key of a layer (%.1f %% of its K and V)", bytes, 100 * bytes / row);
    if (sizes && bytes < 0)
        printf(bytes == INDEX_SIZE_REFUSED ? " (refused: check the values of --param)" : " (not in this build)");
    printf("\n");
}

static void add_method(cJSON * list, const struct method_entry * m, bool sizes, double bytes, double row) {
    cJSON * item = cJSON_CreateObject();
    cJSON_AddItemToArray(list, item);
    cJSON_AddStringToObject(item, "name", m->name);
    cJSON_AddStringToObject(item, "summary", m->summary);
    cJSON_AddStringToObject(item, "parameters", m->parameters);
    cJSON_AddStringToObject(item, "source", m->source);
    cJSON_AddStringToObject(item, "index", index_text(m));
    if (sizes && bytes >= 0) {
        cJSON_AddNumberToObject(item, "index_bytes_per_token", bytes);
        cJSON_AddNumberToObject(item, "index_bytes_fraction", bytes / row);
    }
}

static void list_methods(const struct methods_request * request, const struct capture * capture) {
    const bool sizes = request->sizes || capture != NULL;
    const double row = row_bytes(request, capture);
    cJSON * root = cJSON_CreateObject();
    cJSON * list = cJSON_AddArrayToObject(root, "methods");
    char reason[256];
    if (sizes)
        cJSON_AddNumberToObject(root, "kv_bytes_per_token", row);
    for (int i = 0; i < method_count; i++) {
        const double bytes = sizes ? size_of(request, &method_table[i], capture) : 0;
        add_method(list, &method_table[i], sizes, bytes, row);
        if (request->json == NULL)
            print_method(&method_table[i], sizes, bytes, row);
    }
    if (request->json == NULL)
        cJSON_Delete(root);
    else if (!json_write(request->json, root, reason, sizeof reason))
        give_up("--json %s: %s; choose another place", request->json, reason);
}

static const char doc[] = "List the methods, their parameters, where they come from, and what they keep beside the cache."
                          "\vExamples:\n"
                          "  vattn methods\n"
                          "  vattn methods --head-dim 128 --kv-heads 8 --heads 32\n"
                          "      with the bytes of every index, per key of one layer (all its KV heads)\n"
                          "  vattn methods layer09.safetensors --param lsh_l=75 --json -\n"
                          "      the same for a capture, as JSON\n"
                          "\n"
                          "Sizes are those of indexes that are really built: over the capture, or over a few random "
                          "keys of the shape.\n"
                          "A parameter that counts rows may be a share of the visible keys (below 1).";

int verb_methods(int argc, char ** argv) {
    static const struct argp argp = {options, parse, "[CAPTURE]", doc, NULL, NULL, NULL};
    struct methods_request request = {
        .shape = {.n_heads = 32, .n_kv_heads = 8, .head_dim = 128, .n_keys = 32768, .type = VATTN_TYPE_F16}};
    struct capture capture;
    request.parameters = method_parameters_init();
    parse_arguments(&argp, argc, argv, &request);
    if (request.parameters.selector.kind != VATTN_METHOD_EXACT)
        give_up("--param selector: every selector is in the list by its own name; leave it out");
    if (request.capture != NULL)
        capture_must_open(request.capture, &capture);
    list_methods(&request, request.capture != NULL ? &capture : NULL);
    if (request.capture != NULL)
        capture_close(&capture);
    return EXIT_FINE;
}
