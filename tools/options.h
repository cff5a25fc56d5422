/* SPDX-License-Identifier: MIT
 * The flags that several verbs share, and the argp habits of all of them. */
#ifndef VATTN_TOOLS_OPTIONS_H
#define VATTN_TOOLS_OPTIONS_H

#include <argp.h>
#include <stdbool.h>

#include "methods.h"

/* How the attention is asked for: --method --eps --delta --scope --seed --draws --warm --threads --param. */
struct attend_flags {
    struct vattn_options options; /* shapes are still zero */
    struct method_parameters parameters;
    int64_t draws;
    int32_t warm;
    int threads;
    bool retyped; /* --kv-type: rows are rounded to these types, else they stay as captured */
    enum vattn_type k_type, v_type;
};

void attend_flags_init(struct attend_flags * flags, int64_t draws);

/* argp child: its input is a struct attend_flags. */
extern const struct argp attend_flags_argp;

/* Parse with argp, but with our own one-line errors and our own --help.  argv[0] is "vattn VERB". */
void parse_arguments(const struct argp * argp, int argc, char ** argv, void * input);

/* Numbers of flags, or the end of the program with one line. */
double flag_number(const char * flag, const char * text, double low, double high);
int64_t flag_whole(const char * flag, const char * text, int64_t low, int64_t high);

/* "--steps 0,3,9" or any other list of whole numbers; returns how many, *list is malloc'ed. */
int flag_list(const char * flag, const char * text, int64_t low, int64_t high, int64_t ** list);

int default_threads(void);

#endif
