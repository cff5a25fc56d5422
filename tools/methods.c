/* SPDX-License-Identifier: MIT */
#include "methods.h"

#include "complain.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define PAPER  "vAttention, arXiv 2510.05688"
#define FIXED  "sink=4 window=32 topk=0.05"
#define MIXED  FIXED " base=0.01 shared=0 selector=topk-oracle"
#define RANKED FIXED " base=0.01 shared=0 by_scores=0 selector=topk-oracle"
#define CODE   "sink=4 window=32 min_keys=1024 max_rows=0.5 max_looks=7 fastest=0 code_bits=2 escape=0.01 n_layers=1"

const struct method_entry method_table[] = {
    {"exact", VATTN_METHOD_EXACT, INDEX_NONE, "dense attention over all visible rows", "none", "softmax attention"},
    {"sparse", VATTN_METHOD_SPARSE, INDEX_CODE,
     "a code of the keys proposes, a Poisson sample estimates, a certificate on the output decides", CODE,
     "libvattn, docs/statistics.md"},
    {"sparse-strict", VATTN_METHOD_SPARSE_STRICT, INDEX_CODE,
     "as sparse, with a bound that is proven for every sample and every key, seen by the code or not",
     "sink=4 window=32 min_keys=1024 max_rows=0.5 max_looks=3 code_bits=4 escape=0.01 n_layers=1",
     "libvattn, docs/statistics.md, Strict mode"},
    {"paper-d", VATTN_METHOD_PAPER_D, INDEX_CHOICE,
     "a selector's rows and a uniform sample without replacement, as large as the denominator needs", RANKED,
     PAPER ", verified-D"},
    {"paper-n", VATTN_METHOD_PAPER_N, INDEX_CHOICE, "the same, as large as the numerator needs", RANKED,
     PAPER ", verified-N"},
    {"paper-sdpa", VATTN_METHOD_PAPER_SDPA, INDEX_CHOICE,
     "the same, as large as the output needs, with the best split of eps and delta", RANKED, PAPER ", Theorem 4.3"},
    {"hub", VATTN_METHOD_HUB, INDEX_CHOICE, "the same, as the code published with the paper behaves", MIXED,
     "skylight-org/sparse-attention-hub, adaptive sampling"},
    {"sink-window", VATTN_METHOD_SINK_WINDOW, INDEX_NONE, "the first and the last rows only", "sink=4 window=32",
     "StreamingLLM, arXiv 2309.17453"},
    {"topk-oracle", VATTN_METHOD_TOPK_ORACLE, INDEX_NONE, "the rows with the largest exact scores; looks at every key",
     FIXED, "the best that selection of k rows can do"},
    {"topp-oracle", VATTN_METHOD_TOPP_ORACLE, INDEX_NONE,
     "the fewest rows that hold a share of the mass outside sinks and window; looks at every key",
     "sink=4 window=32 top_p=0.9", "Twilight, arXiv 2502.02770, with exact scores"},
    {"uniform", VATTN_METHOD_UNIFORM, INDEX_NONE, "sinks, window, and a uniform sample of the rest",
     "sink=4 window=32 base=0.01 shared=0", "random sampling without replacement"},
    {"quest", VATTN_METHOD_QUEST, INDEX_SELECTOR, "pages by a bound on their best key from coordinate-wise extrema",
     FIXED " page=16", "Quest, arXiv 2406.10774"},
    {"double-sparsity", VATTN_METHOD_DOUBLE_SPARSITY, INDEX_SELECTOR, "top-k by a few calibrated channels of few bits",
     FIXED " group_factor=16 label_bits=4", "Double Sparsity, arXiv 2408.07092"},
    {"pq", VATTN_METHOD_PQ, INDEX_SELECTOR, "top-k by product quantisation of the keys",
     FIXED " pq_groups=2 pq_bits=6 pq_iterations=10", "PQCache, arXiv 2407.12820"},
    {"hash", VATTN_METHOD_HASH, INDEX_SELECTOR, "top-k by agreeing bits of learned (or random) signatures",
     FIXED " hash_bits=32 hash_weights=FILE", "HashAttention, arXiv 2412.14468"},
    {"magicpig", VATTN_METHOD_MAGICPIG, INDEX_SELECTOR,
     "rows that collide with the query in several hash tables, weighted by the probability of that",
     "sink=4 window=32 lsh_k=10 lsh_l=150 lsh_collisions=2", "MagicPIG, arXiv 2410.16179"},
    {"socket", VATTN_METHOD_SOCKET, INDEX_SELECTOR, "top-k by soft collisions of hashed keys",
     FIXED " socket_k=10 socket_l=60 socket_tau=0.3", "SOCKET, arXiv 2602.06283"},
};
const int method_count = (int)(sizeof method_table / sizeof *method_table);

const struct method_entry * method_find(const char * name) {
    for (int i = 0; i < method_count; i++)
        if (strcmp(method_table[i].name, name) == 0)
            return &method_table[i];
    return NULL;
}

const struct method_entry * method_entry_of(enum vattn_method method) {
    for (int i = 0; i < method_count; i++)
        if (method_table[i].method == method)
            return &method_table[i];
    give_up("method %d is not in the list of methods; please report this", (int)method);
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

struct method_parameters method_parameters_init(void) {
    return (struct method_parameters){.selector = {.struct_size = sizeof(struct vattn_selector_options)}};
}

/* How the text of a parameter becomes a field. */
enum field {
    FIELD_ROWS,         /* int32 in the options, -1 = none; a share below 1 goes to the field `share` of the parameters */
    FIELD_COUNT,        /* int32 in the options, -1 = none */
    FIELD_SHARE,        /* double in the options: rows or share; 0 = none */
    FIELD_WHOLE,        /* int32 in the options */
    FIELD_SWITCH,       /* bool in the options */
    FIELD_NUMBER,       /* double in the options */
    FIELD_OWN_WHOLE,    /* int32 in the parameters */
    FIELD_OWN_NUMBER,   /* double in the parameters */
    FIELD_OWN_TEXT,     /* const char * in the parameters */
    FIELD_OWN_SELECTOR, /* enum vattn_method in the parameters */
};

static const struct parameter {
    const char * key;
    enum field field;
    size_t offset, share;
    double low, high;
} parameter_table[] = {
#define OPTION(name)   offsetof(struct vattn_options, name), 0
#define OWN(name)      offsetof(struct method_parameters, name), 0
#define SELECTOR(name) offsetof(struct method_parameters, selector) + offsetof(struct vattn_selector_options, name), 0
    {"sink", FIELD_ROWS, offsetof(struct vattn_options, sink), offsetof(struct method_parameters, sink_share), 0, INT32_MAX},
    {"window", FIELD_ROWS, offsetof(struct vattn_options, window), offsetof(struct method_parameters, window_share), 0,
     INT32_MAX},
    {"min_keys", FIELD_COUNT, OPTION(min_keys), 0, INT32_MAX},
    {"max_rows", FIELD_NUMBER, OPTION(max_rows), 1e-9, 1},
    {"max_looks", FIELD_WHOLE, OPTION(max_looks), 1, 255},
    {"fastest", FIELD_SWITCH, OPTION(fastest), 0, 1},
    {"code_bits", FIELD_NUMBER, OPTION(code_bits), 0.01, 8},
    {"escape", FIELD_NUMBER, OPTION(escape), 1e-9, 1},
    {"n_layers", FIELD_WHOLE, OPTION(n_layers), 1, 16384},
    {"topk", FIELD_SHARE, OPTION(paper_topk), 0, INT32_MAX},
    {"base", FIELD_SHARE, OPTION(paper_base), 0, INT32_MAX},
    {"shared", FIELD_SWITCH, OPTION(paper_shared), 0, 1},
    {"by_scores", FIELD_SWITCH, OPTION(paper_by_scores), 0, 1},
    {"selector", FIELD_OWN_SELECTOR, SELECTOR(kind), 0, 0},
    {"top_p", FIELD_OWN_NUMBER, SELECTOR(top_p), 1e-9, 1},
    {"page", FIELD_OWN_WHOLE, SELECTOR(page), 1, 4096},
    {"group_factor", FIELD_OWN_WHOLE, SELECTOR(group_factor), 1, 576},
    {"label_bits", FIELD_OWN_WHOLE, SELECTOR(label_bits), 1, 16},
    {"pq_groups", FIELD_OWN_WHOLE, SELECTOR(pq_groups), 1, 576},
    {"pq_bits", FIELD_OWN_WHOLE, SELECTOR(pq_bits), 1, 12},
    {"pq_iterations", FIELD_OWN_WHOLE, SELECTOR(pq_iterations), 1, 1000},
    {"hash_bits", FIELD_OWN_WHOLE, SELECTOR(hash_bits), 1, 64},
    {"hash_weights", FIELD_OWN_TEXT, OWN(hash_weights), 0, 0},
    {"lsh_k", FIELD_OWN_WHOLE, SELECTOR(lsh_k), 1, 16},
    {"lsh_l", FIELD_OWN_WHOLE, SELECTOR(lsh_l), 1, 4096},
    {"lsh_collisions", FIELD_OWN_WHOLE, SELECTOR(lsh_collisions), 1, 4096},
    {"socket_k", FIELD_OWN_WHOLE, SELECTOR(socket_k), 1, 12},
    {"socket_l", FIELD_OWN_WHOLE, SELECTOR(socket_l), 1, 4096},
    {"socket_tau", FIELD_OWN_NUMBER, SELECTOR(socket_tau), 1e-9, 1e9},
#undef OPTION
#undef OWN
#undef SELECTOR
};
enum { N_PARAMETERS = sizeof parameter_table / sizeof *parameter_table };

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

static enum vattn_method selector_kind(const char * name) {
    const struct method_entry * entry = method_find(name);
    if (entry == NULL || (entry->index != INDEX_SELECTOR && entry->method != VATTN_METHOD_TOPK_ORACLE &&
                          entry->method != VATTN_METHOD_TOPP_ORACLE))
        give_up("--param selector: '%s' selects no rows; use topk-oracle, topp-oracle, quest, double-sparsity, pq, hash, "
                "magicpig or socket",
                name);
    return entry->method;
}

/* Rows: a whole number, or a share of what is not known yet. */
static void set_rows(const struct parameter * p, char * option, double * share, const char * text) {
    const double value = number(p->key, text, p->low, p->high);
    const bool is_share = value > 0 && value < 1;
    int32_t * rows = (int32_t *)(void *)option;
    if (is_share && share == NULL)
        give_up("--param %s: '%s' must be a whole number here", p->key, text);
    *rows = is_share ? 0 : none_if_zero(whole(p->key, text, p->low, p->high));
    if (share != NULL)
        *share = is_share ? value : 0;
}

static void set(const struct parameter * p, char * options, char * own, const char * text) {
    const double none = 1e-300; /* a share of rows that is no row */
    char * const to = (p->field < FIELD_OWN_WHOLE ? options : own) + p->offset;
    switch (p->field) {
    case FIELD_ROWS:
        set_rows(p, to, own == NULL ? NULL : (double *)(void *)(own + p->share), text);
        break;
    case FIELD_COUNT:
        *(int32_t *)(void *)to = none_if_zero(whole(p->key, text, p->low, p->high));
        break;
    case FIELD_SHARE:
        *(double *)(void *)to = fmax(none, number(p->key, text, p->low, p->high));
        break;
    case FIELD_WHOLE:
    case FIELD_OWN_WHOLE:
        *(int32_t *)(void *)to = whole(p->key, text, p->low, p->high);
        break;
    case FIELD_SWITCH:
        *(bool *)(void *)to = whole(p->key, text, p->low, p->high) != 0;
        break;
    case FIELD_NUMBER:
    case FIELD_OWN_NUMBER:
        *(double *)(void *)to = number(p->key, text, p->low, p->high);
        break;
    case FIELD_OWN_TEXT:
        *(const char **)(void *)to = text;
        break;
    case FIELD_OWN_SELECTOR:
        *(enum vattn_method *)(void *)to = selector_kind(text);
        break;
    }
}

void method_set_parameter(struct vattn_options * options, struct method_parameters * parameters,
                          const char * assignment) {
    const char * text = strchr(assignment, '=');
    if (text == NULL)
        give_up("--param %s: write key=value; 'vattn methods' lists the keys", assignment);
    for (int i = 0; i < N_PARAMETERS; i++) {
        const struct parameter * p = &parameter_table[i];
        if (strlen(p->key) != (size_t)(text - assignment) || strncmp(p->key, assignment, strlen(p->key)) != 0)
            continue;
        if (parameters == NULL && p->field >= FIELD_OWN_WHOLE)
            give_up("--param %s: only for methods with an index of their own, which are not served here", p->key);
        set(p, (char *)options, (char *)parameters, text + 1);
        return;
    }
    give_up("--param %.*s: unknown parameter; 'vattn methods' lists them", (int)(text - assignment), assignment);
}
