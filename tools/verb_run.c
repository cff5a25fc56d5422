/* SPDX-License-Identifier: MIT
 * vattn run, vattn capture: set the environment that the plug-in reads, then become the program.
 *
 * A flag overrides the variable of the same name; without the flag the caller's variable stays as it is. */
#include "complain.h"
#include "methods.h"
#include "options.h"
#include "plugin_path.h"
#include "verbs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run_request {
    bool capture;
    const char * directory; /* of the captures */
    bool steps_given;
};

static void set(const char * name, const char * value) {
    if (setenv(name, value, 1) != 0)
        give_up("%s: cannot be set: %s", name, strerror(errno));
}

static void set_default(const char * name, const char * value) {
    if (getenv(name) == NULL)
        set(name, value);
}

/* Make the directory if it is missing and name it absolutely: the program may change its own. */
static void set_capture_directory(const char * directory) {
    char absolute[PATH_MAX];
    if (mkdir(directory, 0777) != 0 && errno != EEXIST)
        give_up("-o %s: cannot be created: %s; choose another place", directory, strerror(errno));
    if (realpath(directory, absolute) == NULL || access(absolute, W_OK | X_OK) != 0)
        give_up("-o %s: cannot be written to: %s; choose another place", directory, strerror(errno));
    set("VATTN_CAPTURE", absolute);
}

/* Note in the captures what the program was given, by the flags that llama.cpp's programs share. */
static void set_origin(char ** program) {
    for (int i = 1; program[i] != NULL && program[i + 1] != NULL; i++) {
        if (strcmp(program[i], "-m") == 0 || strcmp(program[i], "--model") == 0)
            set_default("VATTN_CAPTURE_MODEL", basename(program[i + 1]));
        if (strcmp(program[i], "-f") == 0 || strcmp(program[i], "--file") == 0)
            set_default("VATTN_CAPTURE_TEXT", basename(program[i + 1]));
    }
}

static void set_plugin(void) {
    char path[PATH_MAX];
    const char * before = getenv("GGML_BACKEND_PATH");
    if (!plugin_find(path, sizeof path))
        give_up("%s: the plug-in is not there; build or install libggml-vattn.so, or name it with VATTN_PLUGIN", path);
    if (before != NULL && *before != 0 && strcmp(before, path) != 0)
        complain("GGML_BACKEND_PATH was %s and is replaced: the host loads one plug-in by path", before);
    set("GGML_BACKEND_PATH", path);
}

/* Does not return if the program could be started. */
static int become(char ** program) {
    fflush(NULL);
    execvp(program[0], program);
    complain("%s: cannot be started: %s; check the name after --", program[0], strerror(errno));
    return EXIT_USAGE;
}

enum { KEY_METHOD = 0x200, KEY_EPS, KEY_DELTA, KEY_SCOPE, KEY_SEED, KEY_STATS, KEY_OFF, KEY_STEPS, KEY_SKIP };

static const struct argp_option shared_options[] = {
    {"method", KEY_METHOD, "NAME", 0, "exact, sparse or sparse-strict (default sparse; capture: exact)", 0},
    {"eps", KEY_EPS, "X", 0, "relative error of the output that is promised (default 0.05)", 0},
    {"delta", KEY_DELTA, "X", 0, "probability of missing it (default 0.05)", 0},
    {"scope", KEY_SCOPE, "NAME", 0, "head (default), layer or token", 0},
    {"seed", KEY_SEED, "N", 0, "seed of the sampler (default 0)", 0},
    {"stats", KEY_STATS, "FILE", 0, "write statistics as JSON at exit; - is a paragraph on stderr (default)", 0},
    {"off", KEY_OFF, NULL, 0, "load the plug-in, but leave everything to the host", 0},
    {0},
};

static error_t parse_shared(int key, char * text, struct argp_state * state) {
    switch (key) {
    case KEY_METHOD:
        method_must_parse("--method", text);
        set("VATTN_METHOD", text);
        return 0;
    case KEY_EPS:
        flag_number("--eps", text, 1e-9, 0.999999);
        set("VATTN_EPS", text);
        return 0;
    case KEY_DELTA:
        flag_number("--delta", text, 1e-12, 0.5);
        set("VATTN_DELTA", text);
        return 0;
    case KEY_SCOPE:
        scope_must_parse("--scope", text);
        set("VATTN_SCOPE", text);
        return 0;
    case KEY_SEED:
        flag_whole("--seed", text, 0, INT64_MAX);
        set("VATTN_SEED", text);
        return 0;
    case KEY_STATS:
        set("VATTN_STATS", text);
        return 0;
    case KEY_OFF:
        set("VATTN_OFF", "1");
        return 0;
    case ARGP_KEY_ARG:
        give_up("%s: write -- before the program, for example '%s -- %s ...'", text, state->name, text);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option capture_options[] = {
    {"output", 'o', "DIR", 0, "folder for layerLL.safetensors (required, made if missing)", 0},
    {"steps", KEY_STEPS, "N", 0, "decode steps to record (required)", 0},
    {"skip", KEY_SKIP, "M", 0, "decode steps to let pass before (default 0)", 0},
    {0},
};

static error_t parse_capture(int key, char * text, struct argp_state * state) {
    struct run_request * request = state->input;
    switch (key) {
    case 'o':
        request->directory = text;
        return 0;
    case KEY_STEPS:
        flag_whole("--steps", text, 1, 1000000);
        set("VATTN_CAPTURE_STEPS", text);
        request->steps_given = true;
        return 0;
    case KEY_SKIP:
        flag_whole("--skip", text, 0, INT32_MAX);
        set("VATTN_CAPTURE_SKIP", text);
        return 0;
    case ARGP_KEY_END:
        if (request->directory == NULL)
            give_up("-o is missing; name a folder for the captures, for example -o captures");
        if (!request->steps_given)
            give_up("--steps is missing; say how many decode steps to record, for example --steps 8");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN; /* left to parse_shared, the child */
    }
}

/* Split at the first "--"; returns the program's argv. */
static char ** split_program(int * argc, char ** argv) {
    for (int i = 1; i < *argc; i++)
        if (strcmp(argv[i], "--") == 0) {
            argv[i] = NULL;
            *argc = i;
            return argv + i + 1;
        }
    return NULL;
}

static int run(const struct argp * argp, struct run_request * request, int argc, char ** argv) {
    char ** program = split_program(&argc, argv);
    parse_arguments(argp, argc, argv, request);
    if (program == NULL || program[0] == NULL)
        give_up("the program is missing; write it after --, for example '%s ... -- llama-server -m model.gguf'",
                argv[0]);
    set_plugin();
    if (request->capture) {
        set_capture_directory(request->directory);
        set_origin(program);
        set_default("VATTN_METHOD", "exact");
    }
    set_default("VATTN_STATS", "-");
    return become(program);
}

static const char run_doc[] =
    "Run a llama.cpp program with libvattn's attention: set the environment, then become the program."
    "\vExamples:\n"
    "  vattn run -- llama-server -m model.gguf\n"
    "  vattn run --eps 0.1 --stats stats.json -- llama-completion -m model.gguf -f prompt.txt -n 64\n"
    "      coarser and faster; statistics as JSON\n"
    "  vattn run --method exact -- llama-bench -m model.gguf -d 8192\n"
    "      our dense attention, no sampling\n"
    "\n"
    "Needs a llama.cpp that loads backends at run time (GGML_BACKEND_DL). The plug-in libggml-vattn.so is looked for "
    "beside this program, in ../lib and in the build tree; VATTN_PLUGIN names another one.\n"
    "Exit code: the program's; 2 for bad usage, or if the plug-in or the program is missing.";

static const char capture_doc[] =
    "Record queries and cache of decode steps, one file per layer, while a llama.cpp program runs."
    "\vExamples:\n"
    "  vattn capture -o captures --steps 8 -- llama-completion -m model.gguf -f prompt.txt -n 16\n"
    "  vattn capture -o captures --steps 8 --skip 100 -- llama-server -m model.gguf\n"
    "\n"
    "The attention itself is exact unless --method or VATTN_METHOD says otherwise, so that the recorded queries are "
    "the "
    "model's own. 'vattn inspect' shows the files.\n"
    "Exit code: the program's; 2 for bad usage, or if the plug-in or the program is missing.";

int verb_run(int argc, char ** argv) {
    static const struct argp argp = {shared_options, parse_shared, "-- PROGRAM ARGS...", run_doc, NULL, NULL, NULL};
    struct run_request request = {0};
    return run(&argp, &request, argc, argv);
}

int verb_capture(int argc, char ** argv) {
    static const struct argp shared = {shared_options, parse_shared, NULL, NULL, NULL, NULL, NULL};
    static const struct argp_child children[] = {{&shared, 0, "As in 'vattn run':", 1}, {0}};
    static const struct argp argp = {
        capture_options, parse_capture, "-o DIR --steps N -- PROGRAM ARGS...", capture_doc, children, NULL, NULL};
    struct run_request request = {.capture = true};
    return run(&argp, &request, argc, argv);
}
