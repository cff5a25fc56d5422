/* SPDX-License-Identifier: MIT
 *
 * The kernel checks of one tier as a program without libraries, which may be the only process of an emulated machine:
 *
 *     kernels_init [avx512 or avx2 or generic] [long]
 *
 * As process 1 it reads no arguments but checks every tier that the processor has, then powers the machine off.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "../kernels/check_kernels.h"
#include "base/cpu_features.h"

int main(int argc, char ** argv) {
    const bool is_init = getpid() == 1;
    const bool is_long = !is_init && argc > 2 && strcmp(argv[2], "long") == 0;
    const char * wanted = is_init || argc < 2 ? "all" : argv[1];
    const struct vattn_cpu_features cpu = vattn_cpu_features_detect();
    const struct vattn_kernels * const tables[] = {cpu.avx512 ? &vattn_kernels_avx512 : NULL,
                                                   cpu.avx2 ? &vattn_kernels_avx2 : NULL, &vattn_kernels_generic};
    int32_t failures = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("KERNELS avx2 %d avx512 %d worthwhile %d picked %s\n", cpu.avx2, cpu.avx512, cpu.avx512_worthwhile,
           vattn_kernels_pick(0)->name);
    for (int32_t i = 0; i < 3; i++) {
        if (tables[i] != NULL && (strcmp(wanted, "all") == 0 || strcmp(wanted, tables[i]->name) == 0)) {
            failures += check_kernels(tables[i], !is_long, false);
        }
    }
    printf("KERNELS %s\n", failures == 0 && (!is_init || cpu.avx512) ? "PASS" : "FAIL");
    if (is_init) {
        sync();
        reboot(RB_POWER_OFF);
        for (;;) {
            pause();
        }
    }
    return failures != 0;
}
