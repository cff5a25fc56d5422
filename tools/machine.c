/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_number(const char * folder, const char * name, unsigned long * value, char * unit) {
    char path[128];
    FILE * file;
    int n;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "r");
    if (file == NULL)
        return 0;
    n = fscanf(file, "%lu%c", value, unit);
    fclose(file);
    return n >= 1;
}

size_t machine_llc_bytes(void) {
    size_t bytes = 0;
    unsigned long top = 0;
    for (int i = 0; i < 8; i++) {
        char folder[96], unit = 0;
        unsigned long level, size;
        snprintf(folder, sizeof folder, "/sys/devices/system/cpu/cpu0/cache/index%d", i);
        if (!read_number(folder, "level", &level, &unit) || level < top || !read_number(folder, "size", &size, &unit))
            continue;
        top = level;
        bytes = size * (unit == 'K' ? 1024u : unit == 'M' ? 1048576u : 1u);
    }
    return bytes > 0 ? bytes : (size_t)32 << 20;
}

static int find_line(const char * path, const char * prefix, char * rest, size_t rest_bytes) {
    char line[256];
    FILE * file = fopen(path, "r");
    int found = 0;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, prefix, strlen(prefix)) == 0) {
            snprintf(rest, rest_bytes, "%s", line + strlen(prefix));
            found = 1;
        }
    if (file != NULL)
        fclose(file);
    return found;
}

size_t machine_available_bytes(void) {
    char rest[256];
    unsigned long kib = 0;
    if (!find_line("/proc/meminfo", "MemAvailable:", rest, sizeof rest) || sscanf(rest, "%lu", &kib) != 1)
        return (size_t)1 << 30;
    return (size_t)kib * 1024;
}

void machine_cpu_name(char * name, size_t name_bytes) {
    char rest[256];
    const char * start;
    if (!find_line("/proc/cpuinfo", "model name", rest, sizeof rest)) {
        snprintf(name, name_bytes, "unknown");
        return;
    }
    start = strchr(rest, ':');
    start = start ? start + 1 : rest;
    while (*start == ' ' || *start == '\t')
        start++;
    rest[strcspn(rest, "\n")] = 0;
    snprintf(name, name_bytes, "%s", start);
}

double machine_load(void) {
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load : 0;
}
