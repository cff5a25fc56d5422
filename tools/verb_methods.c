/* SPDX-License-Identifier: MIT
 * vattn methods: what --method and --param accept. */
#include "complain.h"
#include "methods.h"
#include "options.h"
#include "verbs.h"

#include <stdio.h>

static error_t parse(int key, char * text, struct argp_state * state) {
    (void)state;
    if (key == ARGP_KEY_ARG)
        give_up("%s: methods takes no arguments; leave it out", text);
    return ARGP_ERR_UNKNOWN;
}

int verb_methods(int argc, char ** argv) {
    static const struct argp argp = {NULL, parse, "",  "List the methods, their parameters and where they come from.",
                                     NULL, NULL,  NULL};
    parse_arguments(&argp, argc, argv, NULL);
    for (int i = 0; i < method_count; i++) {
        const struct method_entry * m = &method_table[i];
        printf("%-8s  %s\n          parameters: %s\n          source: %s\n", m->name, m->summary, m->parameters,
               m->source);
    }
    return EXIT_FINE;
}
