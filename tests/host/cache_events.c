/*
 * cache_events.c - everything that a program may do to llama.cpp's cache, with the plug-in's index checked at every call.
 *
 *     cache_events MODEL TEXT THREADS [f16 or q8_0]
 *
 * Runs with VATTN_TEST_VALIDATE=1, VATTN_METHOD=sparse: each decode call then compares all rows that the index covers with
 * the live cache.  Exit 1 if a covered row was stale, or if nothing was checked.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml-backend.h"
#include "llama.h"

static size_t (*stats_json)(char * buf, size_t cap);
static void (*stats_reset)(void);
static llama_token * tokens;
static int32_t n_tokens;
static bool failed;
static enum ggml_type cache_type = GGML_TYPE_F16;

static void die(const char * what) {
    fprintf(stderr, "cache_events: %s\n", what);
    exit(2);
}

static void * plugin_function(const char * name) {
    ggml_backend_reg_t reg = ggml_backend_reg_by_name("VATTN");
    void * function = reg != NULL ? ggml_backend_reg_get_proc_address(reg, name) : NULL;
    if (function == NULL) {
        die("the plug-in is not loaded");
    }
    return function;
}

static double stat_of(const char * key) {
    char json[8192];
    char quoted[64];
    stats_json(json, sizeof(json));
    snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
    const char * at = strstr(json, quoted);
    return at != NULL ? atof(at + strlen(quoted)) : -1.0;
}

/* Since the last reset rows were checked and none was stale. */
static void expect_fresh(const char * event) {
    const double n_rows = stat_of("validated_rows");
    const double n_stale = stat_of("stale_rows");
    const bool good = n_rows > 0 && n_stale == 0;
    printf("%-44s %10.0f rows checked, %.0f stale, %.0f resets: %s\n", event, n_rows, n_stale, stat_of("stale_resets"),
           good ? "ok" : "FAILED");
    failed = failed || !good;
    stats_reset();
}

/* Tokens [first, first + n) of the text as positions from pos on, in one batch. */
static void feed(struct llama_context * ctx, int32_t first, int32_t n, llama_pos pos, llama_seq_id seq) {
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    for (int32_t i = 0; i < n; i++) {
        batch.token[i] = tokens[(first + i) % n_tokens];
        batch.pos[i] = pos + i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = seq;
        batch.logits[i] = i == n - 1;
    }
    batch.n_tokens = n;
    if (llama_decode(ctx, batch) != 0) {
        die("llama_decode failed");
    }
    llama_batch_free(batch);
}

static void prompt(struct llama_context * ctx, int32_t first, int32_t n, llama_seq_id seq) {
    for (int32_t i = 0; i < n; i += 512) {
        feed(ctx, first + i, n - i < 512 ? n - i : 512, i, seq);
    }
}

static void decode(struct llama_context * ctx, int32_t first, int32_t n, llama_pos pos, llama_seq_id seq) {
    for (int32_t i = 0; i < n; i++) {
        feed(ctx, first + i, 1, pos + i, seq);
    }
}

static struct llama_context * open_context(struct llama_model * model, int32_t n_seq, bool unified, int32_t n_threads) {
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)(2048 * n_seq);
    params.n_batch = 512;
    params.n_ubatch = 512;
    params.n_seq_max = (uint32_t)n_seq;
    params.kv_unified = unified;
    params.n_threads = n_threads;
    params.type_k = params.type_v = cache_type;
    params.n_threads_batch = n_threads;
    struct llama_context * ctx = llama_init_from_model(model, params);
    if (ctx == NULL) {
        die("no context");
    }
    return ctx;
}

static void one_sequence(struct llama_model * model, int32_t n_threads) {
    struct llama_context * ctx = open_context(model, 1, true, n_threads);
    llama_memory_t memory = llama_get_memory(ctx);
    prompt(ctx, 0, 1300, 0);
    decode(ctx, 1300, 12, 1300, 0);
    expect_fresh("prompt, 12 steps");

    const size_t n_bytes = llama_state_seq_get_size(ctx, 0);
    uint8_t * state = malloc(n_bytes);
    llama_state_seq_get_data(ctx, state, n_bytes, 0);

    llama_memory_seq_rm(memory, 0, 1200, -1);
    feed(ctx, 3000, 100, 1200, 0);
    decode(ctx, 3100, 12, 1300, 0);
    expect_fresh("rolled back, 100 other tokens, 12 steps");

    llama_memory_seq_rm(memory, 0, 4, 200);
    llama_memory_seq_add(memory, 0, 200, -1, -196);
    decode(ctx, 3170, 4, 1312 - 196, 0);
    expect_fresh("context shifted, 4 steps");

    if (llama_state_seq_set_data(ctx, state, n_bytes, 0) == 0) {
        die("state not restored");
    }
    decode(ctx, 1312, 1, 1312, 0); /* the layers before the one that notices are behind by one step */
    printf("state restored: %.0f rows stale in the first step, %.0f resets\n", stat_of("stale_rows"),
           stat_of("stale_resets"));
    stats_reset();
    decode(ctx, 1313, 3, 1313, 0);
    expect_fresh("state restored, 3 more steps");

    llama_memory_clear(memory, true);
    prompt(ctx, 5000, 1100, 0);
    decode(ctx, 6100, 3, 1100, 0);
    expect_fresh("cleared, another prompt, 3 steps");
    free(state);
    llama_free(ctx);
}

/* One token of each of two sequences in one batch. */
static void decode_both(struct llama_context * ctx, int32_t first, llama_pos pos0, llama_pos pos1) {
    struct llama_batch batch = llama_batch_init(2, 0, 1);
    for (int32_t i = 0; i < 2; i++) {
        batch.token[i] = tokens[(first + i) % n_tokens];
        batch.pos[i] = i == 0 ? pos0 : pos1;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = i;
        batch.logits[i] = true;
    }
    batch.n_tokens = 2;
    if (llama_decode(ctx, batch) != 0) {
        die("llama_decode failed");
    }
    llama_batch_free(batch);
}

static void two_sequences(struct llama_model * model, bool unified, int32_t n_threads) {
    struct llama_context * ctx = open_context(model, 2, unified, n_threads);
    llama_memory_t memory = llama_get_memory(ctx);
    prompt(ctx, 0, 1100, 0);
    prompt(ctx, 2000, 1150, 1);
    for (int32_t i = 0; i < 3; i++) {
        decode_both(ctx, 4000 + 2 * i, 1100 + i, 1150 + i);
    }
    expect_fresh(unified ? "two sequences, one cache" : "two sequences, two streams");
    llama_memory_seq_rm(memory, 1, -1, -1);
    llama_memory_seq_cp(memory, 0, 1, -1, -1);
    decode_both(ctx, 4100, 1103, 1103);
    stats_reset();
    for (int32_t i = 1; i < 3; i++) {
        decode_both(ctx, 4100 + 2 * i, 1103 + i, 1103 + i);
    }
    expect_fresh(unified ? "copied sequence, one cache" : "copied sequence, two streams");
    llama_free(ctx);
}

static void read_text(const struct llama_model * model, const char * path) {
    static char text[120000];
    FILE * file = fopen(path, "rb");
    if (file == NULL) {
        die("cannot read the text");
    }
    const int32_t length = (int32_t)fread(text, 1, sizeof(text), file);
    fclose(file);
    tokens = malloc(sizeof(text) * sizeof(*tokens));
    n_tokens = llama_tokenize(llama_model_get_vocab(model), text, length, tokens, (int32_t)sizeof(text), true, false);
    if (n_tokens < 7000) {
        die("the text is too short");
    }
}

static void quiet(enum ggml_log_level level, const char * text, void * data) {
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR) {
        fputs(text, stderr);
    }
}

int main(int argc, char ** argv) {
    if (argc != 4 && argc != 5) {
        die("usage: cache_events MODEL TEXT THREADS [f16 or q8_0]");
    }
    if (argc == 5 && strcmp(argv[4], "q8_0") == 0) {
        cache_type = GGML_TYPE_Q8_0;
    }
    llama_log_set(quiet, NULL);
    ggml_backend_load_all();
    *(void **)&stats_json = plugin_function("vattn_stats_json");
    *(void **)&stats_reset = plugin_function("vattn_stats_reset");
    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == NULL) {
        die("cannot load the model");
    }
    read_text(model, argv[2]);
    one_sequence(model, atoi(argv[3]));
    two_sequences(model, false, atoi(argv[3]));
    two_sequences(model, true, atoi(argv[3]));
    llama_model_free(model);
    return failed ? 1 : 0;
}
