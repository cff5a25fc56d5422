/* SPDX-License-Identifier: MIT
 * vattn bench: to come. */
#include "complain.h"
#include "verbs.h"

int verb_bench(int argc, char ** argv) {
    (void)argc;
    complain_as(argv[0]);
    give_up("not built yet; time 'vattn verify' instead");
}
