/*
 * driver.c - times decoding over a long context and keeps the logits, on llama.cpp's public interface.
 *
 *     vattn-demo -m MODEL -f TEXT -o DIR [-p PROMPT] [-n DECODE] [-t THREADS] [-g] [-s STATE] [-c COPIES] [-k TYPE[,TYPE]] MODE...
 *
 * One process reads one prompt: the first PROMPT tokens of the text, in batches. Then each MODE decodes the text's own next DECODE
 * tokens one at a time (forced, so that every mode sees the same tokens), and the context is rewound to the end of the prompt.
 *
 *     -g          the whole text is the prompt (special tokens are recognised), and each mode answers it greedily; DIR/MODE.txt
 *     -s STATE    keep the cache of the prompt in this file, all but its last batch or two, and start from it where it exists: long
 *                 prompts take many minutes. stock-fa-off needs a file of its own: its cache has another layout.
 *     -c COPIES   after the prompt the cache holds its rows so many times, each copy at the positions after the last one. Good for times
 *                 at depths whose prompt would take an hour, and for nothing else: no model has ever seen such a text.
 *
 *     -k TYPE     of the cache, keys and values or both: f32, f16 (default), bf16, q8_0. The host has quantised values with -fa on only.
 *
 *     stock-fa-on, stock-fa-off    the host alone; the two differ in the layout of the cache, so each needs its own process
 *     anything else                a method of the plug-in, which GGML_BACKEND_PATH must name
 *
 * Written per mode: DIR/MODE.json (times, and the plug-in's statistics) and DIR/MODE.logits, f32 [DECODE][vocabulary].
 * Times are medians over tokens: the machine may be shared. Depth 0 is measured before the prompt, in the same process and mode,
 * so that "time at depth minus time at depth 0" follows one rule for all.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ggml-backend.h"
#include "llama.h"

enum { BATCH = 512, DEPTH0_TOKENS = 48, MAX_MODES = 8 };

struct options {
    const char * model;
    const char * text;
    const char * out;
    int32_t n_prompt, n_decode, n_threads, n_copies;
    char ** modes;
    int n_modes;
    const char * state;
    enum ggml_type k_type, v_type;
    bool stock, flash_attn, greedy;
};

/* What the plug-in's registry offers under the names vattn_set_method (0 is success), vattn_stats_json (fills at most cap bytes,
 * returns the length needed without the closing zero) and vattn_stats_reset. */
struct plugin {
    int (*set_method)(const char * method);
    size_t (*stats_json)(char * buf, size_t cap);
    void (*stats_reset)(void);
};

static _Noreturn void die(const char * format, ...) {
    va_list args;
    va_start(args, format);
    fputs("vattn-demo: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static void * must(void * pointer) {
    if (pointer == NULL) {
        die("out of memory");
    }
    return pointer;
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e3 + (double) t.tv_nsec * 1e-6;
}

static int compare_double(const void * a, const void * b) {
    const double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

/* Sorts in place. */
static double median(double * values, int32_t n) {
    qsort(values, (size_t) n, sizeof(double), compare_double);
    return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

/* The first type of a list, and where the next one is, or NULL. */
static enum ggml_type type_parse(const char * text, const char ** next) {
    static const enum ggml_type types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0};
    const size_t length = strcspn(text, ",");
    *next = text[length] == ',' ? text + length + 1 : NULL;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strlen(ggml_type_name(types[i])) == length && strncmp(text, ggml_type_name(types[i]), length) == 0) {
            return types[i];
        }
    }
    die("-k %s: takes f32, f16, bf16 or q8_0, or two of them with a comma", text);
}

static void types_parse(struct options * o, const char * text) {
    const char * values;
    o->k_type = o->v_type = type_parse(text, &values);
    if (values != NULL) {
        o->v_type = type_parse(values, &values);
    }
}

static struct options options_parse(int argc, char ** argv) {
    struct options o = {.n_prompt = 7000, .n_decode = 64, .n_threads = (int32_t) sysconf(_SC_NPROCESSORS_ONLN), .n_copies = 1,
                        .k_type = GGML_TYPE_F16, .v_type = GGML_TYPE_F16};
    for (int c; (c = getopt(argc, argv, "m:f:o:p:n:t:s:gc:k:")) != -1;) {
        switch (c) {
            case 'm': o.model = optarg; break;
            case 'f': o.text = optarg; break;
            case 'o': o.out = optarg; break;
            case 'p': o.n_prompt = atoi(optarg); break;
            case 'n': o.n_decode = atoi(optarg); break;
            case 't': o.n_threads = atoi(optarg); break;
            case 's': o.state = optarg; break;
            case 'g': o.greedy = true; break;
            case 'c': o.n_copies = atoi(optarg); break;
            case 'k': types_parse(&o, optarg); break;
            default: exit(2);
        }
    }
    o.modes = argv + optind;
    o.n_modes = argc - optind;
    if (!o.model || !o.text || !o.out || o.n_modes < 1 || o.n_modes > MAX_MODES) {
        die("usage: vattn-demo -m MODEL -f TEXT -o DIR [-p PROMPT] [-n DECODE] [-t THREADS] [-g] [-s STATE] [-c COPIES] [-k TYPE[,TYPE]] "
            "MODE...");
    }
    if (o.n_prompt < 1 || o.n_decode < 2 || o.n_threads < 1 || o.n_copies < 1 || o.n_copies > INT32_MAX / 2 / o.n_prompt) {
        die("-p and -c must be at least 1 (2^30 tokens in all), -n at least 2, -t at least 1");
    }
    if (o.greedy && o.n_copies > 1) {
        die("-g answers a text, and copies of a prompt are none: give -g or -c");
    }
    o.stock = strncmp(o.modes[0], "stock-", 6) == 0;
    o.flash_attn = strcmp(o.modes[0], "stock-fa-off") != 0;
    if (o.stock && (o.n_modes > 1 || (o.flash_attn && strcmp(o.modes[0], "stock-fa-on") != 0))) {
        die("stock-fa-on and stock-fa-off each run alone");
    }
    return o;
}

/* The host looks for its CPU backend beside the executable; ours lives elsewhere, so name the folder of libllama. */
static void load_backends(void) {
    Dl_info info;
    if (dladdr((void *) (uintptr_t) llama_backend_init, &info) == 0) {
        die("cannot locate libllama");
    }
    char * folder = must(realpath(info.dli_fname, NULL));
    char * slash = strrchr(folder, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    ggml_backend_load_all_from_path(folder);
    free(folder);
    llama_backend_init();
}

static void * plugin_function(ggml_backend_reg_t reg, const char * name) {
    void * f = ggml_backend_reg_get_proc_address(reg, name);
    if (f == NULL) {
        die("the plug-in does not offer %s", name);
    }
    return f;
}

static struct plugin plugin_find(void) {
    ggml_backend_reg_t reg = ggml_backend_reg_by_name("VATTN");
    if (reg == NULL) {
        die("the plug-in was not loaded; set GGML_BACKEND_PATH to the absolute path of libggml-vattn.so");
    }
    struct plugin p;
    *(void **) &p.set_method = plugin_function(reg, "vattn_set_method");
    *(void **) &p.stats_json = plugin_function(reg, "vattn_stats_json");
    *(void **) &p.stats_reset = plugin_function(reg, "vattn_stats_reset");
    return p;
}

static void plugin_use(const struct plugin * p, const char * mode) {
    if (p->set_method(mode) != 0) {
        die("the plug-in does not know the method '%s'", mode);
    }
}

static char * read_text(const char * path, size_t cap, size_t * n_bytes) {
    FILE * file = fopen(path, "rb");
    if (file == NULL) {
        die("%s: %s", path, strerror(errno));
    }
    char * text = must(malloc(cap));
    *n_bytes = fread(text, 1, cap, file);
    fclose(file);
    return text;
}

/* The first n tokens of the text file; with n < 0 all of them (special tokens recognised), and room for more. */
static llama_token * read_tokens(const struct llama_vocab * vocab, const char * path, int32_t n, int32_t * n_tokens) {
    enum { LONGEST = 16 << 20 };
    /* A token of ordinary text is 3 to 5 bytes; 16 leave room, and the whole of a huge file is never tokenised. */
    size_t n_bytes, cap = n < 0 ? LONGEST : 16 * (size_t) n + 1024;
    char * text = read_text(path, cap, &n_bytes);
    cap = n < 0 ? n_bytes + 1024 : cap;
    llama_token * tokens = must(malloc(cap * sizeof(*tokens)));
    *n_tokens = llama_tokenize(vocab, text, (int32_t) n_bytes, tokens, (int32_t) cap, true, n < 0);
    free(text);
    if (*n_tokens < (n < 0 ? 1 : n)) {
        die("%s: %d tokens, but prompt and decoding need %d; give a longer text or a smaller NPROMPT", path, *n_tokens, n);
    }
    return tokens;
}

static void decode(struct llama_context * ctx, llama_token * tokens, int32_t n) {
    const int status = llama_decode(ctx, llama_batch_get_one(tokens, n));
    if (status != 0) {
        die("llama_decode failed with status %d", status);
    }
}

/* Tokens [begin, n) in batches that end at multiples of BATCH. */
static void read_prompt(struct llama_context * ctx, llama_token * tokens, int32_t begin, int32_t n) {
    const double start = now_ms();
    double reported = start;
    for (int32_t i = begin; i < n;) {
        const int32_t end = (i / BATCH + 1) * BATCH < n ? (i / BATCH + 1) * BATCH : n;
        decode(ctx, tokens + i, end - i);
        llama_synchronize(ctx);
        i = end;
        if (now_ms() - reported > 4e3 || i == n) {
            reported = now_ms();
            fprintf(stderr, "  prompt %5d of %d tokens, %.0f s\n", i, n, (reported - start) / 1e3);
        }
    }
}

/* The prompt through a file of its cache, but for the last batch or two, from which a plug-in still learns its queries. */
static void read_prompt_from(struct llama_context * ctx, const char * path, llama_token * tokens, int32_t n) {
    const int32_t kept = n > 2 * BATCH ? ((n - 1) / BATCH - 1) * BATCH : 0;
    llama_token * stored = must(malloc((size_t) n * sizeof(*stored)));
    size_t n_stored = 0;
    if (access(path, R_OK) != 0) {
        read_prompt(ctx, tokens, 0, kept);
        if (llama_state_seq_save_file(ctx, path, 0, tokens, (size_t) kept) == 0) {
            die("%s: cannot write the state", path);
        }
    } else if (llama_state_seq_load_file(ctx, path, 0, stored, (size_t) n, &n_stored) == 0 || n_stored != (size_t) kept ||
               memcmp(stored, tokens, n_stored * sizeof(*stored)) != 0) {
        die("%s: not the state of %d tokens of this text and model; delete it", path, kept);
    }
    free(stored);
    read_prompt(ctx, tokens, kept, n);
}

/* The n tokens of sequence 0 once more for each further copy: restored as sequence 1, moved to the positions after the last copy, and
 * given to sequence 0. The host turns the moved keys before it next computes, in the first decode. */
static void copy_prompt(struct llama_context * ctx, int32_t n, int32_t n_copies) {
    llama_memory_t memory = llama_get_memory(ctx);
    const size_t size = llama_state_seq_get_size(ctx, 0);
    uint8_t * state = must(malloc(size));
    if (llama_state_seq_get_data(ctx, state, size, 0) != size) {
        die("cannot copy the prompt's rows");
    }
    for (int32_t copy = 1; copy < n_copies; copy++) {
        if (llama_state_seq_set_data(ctx, state, size, 1) != size) {
            die("no room for copy %d of %d of the prompt", copy + 1, n_copies);
        }
        llama_memory_seq_add(memory, 1, 0, -1, copy * n);
        llama_memory_seq_cp(memory, 1, 0, -1, -1);
        llama_memory_seq_rm(memory, 1, -1, -1);
    }
    free(state);
    if (llama_memory_seq_pos_max(memory, 0) != n * n_copies - 1) {
        die("the copies end at position %d, not at %d", llama_memory_seq_pos_max(memory, 0), n * n_copies - 1);
    }
}

static llama_token likeliest(const float * logits, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return (llama_token) best;
}

/* Decodes tokens one at a time; times[i] in ms, logits of token i to the file if there is one. Greedy: tokens[i + 1] is written, not
 * read. */
static void decode_timed(struct llama_context * ctx, llama_token * tokens, int32_t n, double * times, FILE * logits, size_t n_vocab,
                         bool greedy) {
    for (int32_t i = 0; i < n; i++) {
        const double start = now_ms();
        decode(ctx, tokens + i, 1);
        const float * row = llama_get_logits_ith(ctx, -1);    /* waits for the result */
        times[i] = now_ms() - start;
        if (row == NULL) {
            die("no logits");
        }
        if (greedy) {
            tokens[i + 1] = likeliest(row, n_vocab);
        }
        if (logits != NULL && fwrite(row, sizeof(float), n_vocab, logits) != n_vocab) {
            die("cannot write logits: %s", strerror(errno));
        }
    }
}

/* ms per token with next to nothing in the cache. */
static double measure_depth0(struct llama_context * ctx, llama_token * tokens, int32_t n) {
    double times[DEPTH0_TOKENS];
    n = n < DEPTH0_TOKENS ? n : DEPTH0_TOKENS;
    decode_timed(ctx, tokens, n, times, NULL, 0, false);
    llama_memory_clear(llama_get_memory(ctx), false);
    return median(times, n);
}

static FILE * open_output(const char * dir, const char * mode, const char * suffix) {
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s.%s", dir, mode, suffix);
    FILE * file = fopen(path, "wb");
    if (file == NULL) {
        die("%s: %s", path, strerror(errno));
    }
    return file;
}

/* What a mode answered, up to the first end of generation. */
static void write_answer(const struct options * o, const struct llama_vocab * vocab, const char * mode, const llama_token * tokens) {
    FILE * file = open_output(o->out, mode, "txt");
    for (int32_t i = 0; i < o->n_decode && !llama_vocab_is_eog(vocab, tokens[i]); i++) {
        char piece[256];
        const int32_t n = llama_token_to_piece(vocab, tokens[i], piece, sizeof(piece), 0, false);
        fwrite(piece, 1, n > 0 ? (size_t) n : 0, file);
    }
    if (fclose(file) != 0) {
        die("cannot write %s.txt: %s", mode, strerror(errno));
    }
}

static void write_result(const struct options * o, const struct plugin * p, const struct llama_model * model, const char * mode,
                         double * times, double depth0_ms, double prompt_s) {
    char name[256];
    llama_model_desc(model, name, sizeof(name));
    double sum = 0.0;
    for (int32_t i = 0; i < o->n_decode; i++) {
        sum += times[i];
    }
    const double first_ms = times[0];
    const double ms = median(times, o->n_decode);

    FILE * file = open_output(o->out, mode, "json");
    fprintf(file, "{\"name\": \"%s\", \"host\": \"llama.cpp, ggml %s\", \"model\": \"%s\", \"n_vocab\": %d,\n", mode, ggml_version(),
            name, llama_vocab_n_tokens(llama_model_get_vocab(model)));
    fprintf(file, " \"threads\": %d, \"n_prompt\": %d, \"copies\": %d, \"n_decode\": %d, \"prompt_s\": %.3f,\n", o->n_threads,
            o->n_prompt * o->n_copies, o->n_copies, o->n_decode, prompt_s);
    fprintf(file, " \"ms_per_token\": %.4f, \"ms_mean\": %.4f, \"ms_first\": %.4f, \"ms_depth0\": %.4f", ms, sum / o->n_decode,
            first_ms, depth0_ms);
    if (p != NULL) {
        static char json[1 << 16];
        if (p->stats_json(json, sizeof(json)) >= sizeof(json)) {
            die("the plug-in's statistics are longer than %zu bytes", sizeof(json));
        }
        fprintf(file, ",\n \"statistics\": %s", json);
    }
    fputs("}\n", file);
    if (fclose(file) != 0) {
        die("cannot write %s.json: %s", mode, strerror(errno));
    }
    fprintf(stderr, "  %-13s %7.2f ms per token (%.2f at depth 0)\n", mode, ms, depth0_ms);
}

/* Errors and warnings of the host only. */
static void quiet_log(enum ggml_log_level level, const char * text, void * data) {
    (void) data;
    if (level == GGML_LOG_LEVEL_ERROR) {
        fputs(text, stderr);
    }
}

int main(int argc, char ** argv) {
    struct options o = options_parse(argc, argv);
    llama_log_set(quiet_log, NULL);
    load_backends();
    struct plugin plugin;
    if (!o.stock) {
        plugin = plugin_find();
    }

    struct llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    struct llama_model * model = llama_model_load_from_file(o.model, model_params);
    if (model == NULL) {
        die("%s: not a model that this host can load", o.model);
    }
    const struct llama_vocab * vocab = llama_model_get_vocab(model);
    int32_t n_text;
    llama_token * tokens = read_tokens(vocab, o.text, o.greedy ? -1 : o.n_prompt + o.n_decode, &n_text);
    if (o.greedy) {
        o.n_prompt = n_text - 1; /* the last token of the text is the first to be decoded */
    }
    const int32_t n_rows = o.n_prompt * o.n_copies, n_tokens = n_rows + o.n_decode;
    if (n_tokens > llama_model_n_ctx_train(model)) {
        fprintf(stderr, "vattn-demo: %d tokens exceed the %d the model was trained for; times hold, quality does not\n", n_tokens,
                llama_model_n_ctx_train(model));
    }

    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t) (n_tokens < DEPTH0_TOKENS ? DEPTH0_TOKENS : n_tokens);
    params.n_batch = params.n_ubatch = BATCH;
    params.n_threads = params.n_threads_batch = o.n_threads;
    params.flash_attn_type = o.flash_attn ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.type_k = o.k_type;
    params.type_v = o.v_type;
    params.n_seq_max = o.n_copies > 1 ? 2 : 1; /* copies are restored as a second sequence of the same buffer */
    params.kv_unified = o.n_copies > 1;
    params.swa_full = true;    /* rewinding needs the rows that a ring would have overwritten */
    struct llama_context * ctx = llama_init_from_model(model, params);
    if (ctx == NULL) {
        die("%s: cannot make a context of %u tokens", o.model, params.n_ctx);
    }

    double depth0_ms[MAX_MODES];
    for (int i = 0; i < o.n_modes; i++) {
        if (!o.stock) {
            plugin_use(&plugin, o.modes[i]);
        }
        depth0_ms[i] = measure_depth0(ctx, tokens, o.n_prompt + o.n_decode);
    }

    const double start = now_ms();
    if (o.state != NULL) {
        read_prompt_from(ctx, o.state, tokens, o.n_prompt);
    } else {
        read_prompt(ctx, tokens, 0, o.n_prompt);
    }
    if (o.n_copies > 1) {
        copy_prompt(ctx, o.n_prompt, o.n_copies);
    }
    const double prompt_s = (now_ms() - start) / 1e3;

    double * times = must(malloc((size_t) o.n_decode * sizeof(double)));
    for (int i = 0; i < o.n_modes; i++) {
        if (!o.stock) {
            plugin_use(&plugin, o.modes[i]);
            plugin.stats_reset();
        }
        FILE * logits = open_output(o.out, o.modes[i], "logits");
        decode_timed(ctx, tokens + o.n_prompt, o.n_decode, times, logits, (size_t) llama_vocab_n_tokens(vocab), o.greedy);
        fclose(logits);
        if (o.greedy) {
            write_answer(&o, vocab, o.modes[i], tokens + o.n_prompt + 1);
        }
        write_result(&o, o.stock ? NULL : &plugin, model, o.modes[i], times, depth0_ms[i], prompt_s);
        if (i + 1 < o.n_modes && !llama_memory_seq_rm(llama_get_memory(ctx), 0, n_rows, -1)) {
            die("%s: this model's memory cannot be rewound; run one mode per process", o.model);
        }
    }

    free(times);
    free(tokens);
    llama_free(ctx);
    llama_model_free(model);
    llama_backend_free();
    return 0;
}
