/* SPDX-License-Identifier: MIT
 * vattn: verified sparse attention from the command line.  This file only finds the verb. */
#include "complain.h"
#include "verbs.h"

#include <stdio.h>
#include <string.h>
#include <vattn.h>

static const struct verb {
    const char * name;
    int (*run)(int argc, char ** argv);
    const char * summary;
    const char * example;
} verbs[] = {
    {"run", verb_run, "run a llama.cpp program with sparse attention", "vattn run -- llama-server -m model.gguf"},
    {"capture", verb_capture, "record the attention inputs of a program",
     "vattn capture -o caps --steps 8 -- llama-completion -m model.gguf -f text.txt"},
    {"inspect", verb_inspect, "show and check a file of inputs or answers", "vattn inspect caps/layer09.safetensors"},
    {"attend", verb_attend, "answer one step of a capture, with certificates",
     "vattn attend caps/layer09.safetensors -o answers.safetensors"},
    {"verify", verb_verify, "test the promise on captures, head by head", "vattn verify caps/layer*.safetensors"},
    {"bench", verb_bench, "time the methods on synthetic keys", "vattn bench --keys 32768 --density 0.03"},
    {"methods", verb_methods, "list methods and their parameters", "vattn methods"},
};
enum { N_VERBS = sizeof verbs / sizeof *verbs };

static void print_help(void) {
    printf("vattn: attention of a decode step over a long KV cache that reads a few per cent of the rows,\n"
           "tells how wrong it can be, and is exact when it cannot keep its word.\n\n"
           "Usage: vattn VERB [flags] ...     'vattn VERB --help' explains one verb by example.\n\n");
    for (int i = 0; i < N_VERBS; i++)
        printf("  %-8s %s\n           %s\n", verbs[i].name, verbs[i].summary, verbs[i].example);
    printf("\nExit codes: 0 fine; 1 a promise was not kept; 2 bad usage or input. 'run' and 'capture' give the "
           "program's.\n");
}

int main(int argc, char ** argv) {
    static char name[32];
    if (argc < 2)
        give_up("a verb is missing; 'vattn --help' lists them");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return EXIT_FINE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("vattn %s\n", vattn_version());
        return EXIT_FINE;
    }
    for (int i = 0; i < N_VERBS; i++)
        if (strcmp(argv[1], verbs[i].name) == 0) {
            snprintf(name, sizeof name, "vattn %s", verbs[i].name);
            argv[1] = name;
            return verbs[i].run(argc - 1, argv + 1);
        }
    give_up("%s: unknown verb; 'vattn --help' lists them", argv[1]);
}
