/* SPDX-License-Identifier: MIT */
#include "methods.h"

#include "complain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct method_entry method_table[] = {
    {"exact", VATTN_METHOD_EXACT, false, "dense attention over all visible rows", "none", "softmax attention"},
    {"sparse", VATTN_METHOD_SPARSE, true,
     "a code of the keys proposes, a Poisson sample estimates, a certificate on the output decides",
     "sink=4 window=32 min_keys=1024 max_rows=0.5 max_looks=7 code_bits=2 escape=0.02 n_layers=1",
     "libvattn, docs/statistics.md"},
    {"paper-d", VATTN_METHOD_PAPER_D, false,
     "top-k by exact scores + uniform sample without replacement; controls the denominator, not the output",
     "sink=4 window=32 topk=0.05 base=0.01 selector=topk-oracle", "vAttention, arXiv 2510.05688"},
};
const int method_count = (int)(sizeof method_table / sizeof *method_table);

const struct method_entry * method_find(const char * name) {
    for (int i = 0; i < method_count; i++)
        if (strcmp(method_table[i].name, name) == 0)
            return &method_table[i];
    return NULL;
}

enum vattn_method method_must_parse(const char * flag, const char * name) {
    enum vattn_method method;
    if (!vattn_method_parse(name, &method))
        give_up("%s: unknown method '%s'; 'vattn methods' lists the names", flag, name);
    return method;
}

enum vattn_scope scope_must_parse(const char * flag, const char * name) {
    enum vattn_scope scope;
    if (!vattn_scope_parse(name, &scope))
        give_up("%s: unknown scope '%s'; use head, layer or token", flag, name);
    return scope;
}

uint32_t method_disabled_tiers(void) {
    const char * list = getenv("VATTN_DISABLE_CPU");
    uint32_t mask = 0;
    if (list != NULL && !vattn_tiers_parse(list, &mask))
        give_up("VATTN_DISABLE_CPU: '%s' names an unknown kernel tier; use avx512, avx2 or neon, with commas between",
                list);
    return mask;
}

static double number(const char * key, const char * text, double low, double high) {
    char * end = NULL;
    const double value = strtod(text, &end);
    if (end == text || *end != 0 || !(value >= low && value <= high))
        give_up("--param %s: '%s' is not a number from %g to %g", key, text, low, high);
    return value;
}

static int32_t whole(const char * key, const char * text, double low, double high) {
    const double value = number(key, text, low, high);
    if (value != floor(value))
        give_up("--param %s: '%s' must be a whole number", key, text);
    return (int32_t)value;
}

static int32_t none_if_zero(int32_t rows) {
    return rows == 0 ? -1 : rows; /* in struct vattn_options zero means default */
}

void method_set_parameter(struct vattn_options * options, const char * assignment) {
    const char * text = strchr(assignment, '=');
    char key[24] = "";
    if (text == NULL || text - assignment >= (long)sizeof key)
        give_up("--param %s: write key=value; 'vattn methods' lists the keys", assignment);
    memcpy(key, assignment, (size_t)(text - assignment));
    text++;
    if (strcmp(key, "sink") == 0)
        options->sink = none_if_zero(whole(key, text, 0, INT32_MAX));
    else if (strcmp(key, "window") == 0)
        options->window = none_if_zero(whole(key, text, 0, INT32_MAX));
    else if (strcmp(key, "min_keys") == 0)
        options->min_keys = none_if_zero(whole(key, text, 0, INT32_MAX));
    else if (strcmp(key, "max_rows") == 0)
        options->max_rows = number(key, text, 1e-9, 1);
    else if (strcmp(key, "max_looks") == 0)
        options->max_looks = whole(key, text, 1, 255);
    else if (strcmp(key, "code_bits") == 0)
        options->code_bits = number(key, text, 0.01, 8);
    else if (strcmp(key, "escape") == 0)
        options->escape = number(key, text, 1e-9, 1);
    else if (strcmp(key, "n_layers") == 0)
        options->n_layers = whole(key, text, 1, 16384);
    else if (strcmp(key, "topk") == 0)
        options->paper_topk = number(key, text, 1e-9, INT32_MAX);
    else if (strcmp(key, "base") == 0)
        options->paper_base = number(key, text, 1e-9, INT32_MAX);
    else if (strcmp(key, "selector") == 0) {
        if (strcmp(text, "topk-oracle") != 0)
            give_up("--param selector: '%s' is not built yet; use topk-oracle", text);
    } else
        give_up("--param %s: unknown parameter; 'vattn methods' lists them", key);
}
