/* SPDX-License-Identifier: MIT
 * What a timing has to say about the machine it was taken on. */
#ifndef VATTN_TOOLS_MACHINE_H
#define VATTN_TOOLS_MACHINE_H

#include <stddef.h>

/* Bytes of the last-level cache of the first processor; 32 MiB if the system does not say. */
size_t machine_llc_bytes(void);
size_t machine_available_bytes(void);
/* "model name" of the first processor, or "unknown". */
void machine_cpu_name(char * name, size_t name_bytes);

/* Mean number of running tasks over the last minute, ours included; 0 if unknown. */
double machine_load(void);

#endif
