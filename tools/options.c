/* SPDX-License-Identifier: MIT */
#include "options.h"

#include "complain.h"
#include "rows.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_METHOD = 0x100,
    KEY_EPS,
    KEY_DELTA,
    KEY_SCOPE,
    KEY_SEED,
    KEY_DRAWS,
    KEY_WARM,
    KEY_THREADS,
    KEY_PARAM,
    KEY_KV_TYPE,
    KEY_HELP
};

double flag_number(const char * flag, const char * text, double low, double high) {
    char * end = NULL;
    const double value = strtod(text, &end);
    if (end == text || *end != 0 || !(value >= low && value <= high))
        give_up("%s: '%s' is not a number from %g to %g", flag, text, low, high);
    return value;
}

int64_t flag_whole(const char * flag, const char * text, int64_t low, int64_t high) {
    char * end = NULL;
    long long value;
    errno = 0;
    value = strtoll(text, &end, 10);
    if (end == text || *end != 0 || errno != 0 || value < low || value > high)
        give_up("%s: '%s' is not a whole number from %lld to %lld", flag, text, (long long)low, (long long)high);
    return value;
}

int flag_list(const char * flag, const char * text, int64_t low, int64_t high, int64_t ** list) {
    char * copy = strdup(text);
    char * rest = copy;
    int n = 0;
    *list = must_alloc(strlen(text) + 1, sizeof **list);
    for (char * word; (word = strsep(&rest, ",")) != NULL;)
        (*list)[n++] = flag_whole(flag, word, low, high);
    free(copy);
    return n;
}

int default_threads(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

void attend_flags_init(struct attend_flags * flags, int64_t draws) {
    memset(flags, 0, sizeof *flags);
    flags->options.struct_size = sizeof flags->options;
    flags->parameters = method_parameters_init();
    flags->options.method = VATTN_METHOD_SPARSE;
    flags->options.scope = VATTN_SCOPE_HEAD;
    flags->options.eps = 0.05;
    flags->options.delta = 0.05;
    flags->options.disabled_tiers = method_disabled_tiers();
    flags->draws = draws;
    flags->threads = default_threads();
}

static const struct argp_option attend_options[] = {
    {"method", KEY_METHOD, "NAME", 0, "exact, sparse (default), paper-d, quest, ...; see 'vattn methods'", 0},
    {"eps", KEY_EPS, "X", 0, "relative error of the output that is promised (default 0.05)", 0},
    {"delta", KEY_DELTA, "X", 0, "probability of missing it (default 0.05)", 0},
    {"scope", KEY_SCOPE, "NAME", 0, "what is promised about: each head, all heads of a layer, or all of a token", 0},
    {"seed", KEY_SEED, "N", 0, "seed of the sampler (default 0); draw r is keyed by (seed, r)", 0},
    {"draws", KEY_DRAWS, "R", 0, "independent draws of each answer", 0},
    {"warm", KEY_WARM, "N", 0, "let the controller see the N steps before once (default 0: cold)", 0},
    {"threads", KEY_THREADS, "T", 0, "threads (default: all allowed processors)", 0},
    {"param", KEY_PARAM, "KEY=VALUE", 0, "a parameter of the method, may be repeated; 'vattn methods' lists them", 0},
    {"kv-type", KEY_KV_TYPE, "K[,V]", 0, "round keys and values to f32, f16, bf16 or q8_0 first (default: as captured)", 0},
    {0},
};

static void parse_kv_type(struct attend_flags * flags, const char * text) {
    char * copy = strdup(text);
    char * values = strchr(copy, ',');
    if (values != NULL)
        *values++ = 0;
    flags->retyped = true;
    flags->k_type = row_type_must_parse("--kv-type", copy);
    flags->v_type = values != NULL ? row_type_must_parse("--kv-type", values) : flags->k_type;
    free(copy);
}

static error_t parse_attend_flag(int key, char * text, struct argp_state * state) {
    struct attend_flags * flags = state->input;
    switch (key) {
    case KEY_METHOD:
        flags->options.method = method_must_parse("--method", text);
        return 0;
    case KEY_EPS:
        flags->options.eps = flag_number("--eps", text, 1e-9, 0.999999);
        return 0;
    case KEY_DELTA:
        flags->options.delta = flag_number("--delta", text, 1e-12, 0.5);
        return 0;
    case KEY_SCOPE:
        flags->options.scope = scope_must_parse("--scope", text);
        return 0;
    case KEY_SEED:
        flags->options.seed = (uint64_t)flag_whole("--seed", text, 0, INT64_MAX);
        return 0;
    case KEY_DRAWS:
        flags->draws = flag_whole("--draws", text, 1, 100000000);
        return 0;
    case KEY_WARM:
        flags->warm = (int32_t)flag_whole("--warm", text, 0, INT32_MAX);
        return 0;
    case KEY_THREADS:
        flags->threads = (int)flag_whole("--threads", text, 1, 1024);
        return 0;
    case KEY_PARAM:
        method_set_parameter(&flags->options, &flags->parameters, text);
        return 0;
    case KEY_KV_TYPE:
        parse_kv_type(flags, text);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp attend_flags_argp = {attend_options, parse_attend_flag, NULL, NULL, NULL, NULL, NULL};

/* --help, without argp's many-line errors. */
struct outer {
    const struct argp * argp;
    void * input;
};

static const struct argp_option outer_options[] = {
    {"help", KEY_HELP, NULL, 0, "show this help", -1},
    {0},
};

static error_t parse_outer(int key, char * text, struct argp_state * state) {
    struct outer * outer = state->input;
    (void)text;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = outer->input;
        return 0;
    case KEY_HELP:
        argp_help(outer->argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, state->name);
        exit(EXIT_FINE);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void parse_arguments(const struct argp * argp, int argc, char ** argv, void * input) {
    const struct argp inner = {argp->options, argp->parser, NULL, NULL, argp->children, NULL, NULL}; /* doc once only */
    const struct argp_child children[] = {{&inner, 0, NULL, 0}, {0}};
    const struct argp whole = {outer_options, parse_outer, argp->args_doc, argp->doc, children, NULL, NULL};
    struct outer outer = {&whole, input};
    int stopped_at = argc;
    complain_as(argv[0]);
    if (argp_parse(&whole, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP, &stopped_at, &outer) != 0) {
        const int culprit = stopped_at > 1 && stopped_at <= argc ? stopped_at - 1 : argc - 1;
        give_up("%s: unknown flag, or its value is missing; '%s --help' shows what there is", argv[culprit], argv[0]);
    }
}
