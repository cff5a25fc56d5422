/* SPDX-License-Identifier: MIT
 * The verbs of the command.  Each one gets argv[0] = "vattn VERB" and returns the exit code. */
#ifndef VATTN_TOOLS_VERBS_H
#define VATTN_TOOLS_VERBS_H

int verb_attend(int argc, char ** argv);
int verb_verify(int argc, char ** argv);
int verb_inspect(int argc, char ** argv);
int verb_bench(int argc, char ** argv);
int verb_run(int argc, char ** argv);
int verb_capture(int argc, char ** argv);
int verb_methods(int argc, char ** argv);

#endif
