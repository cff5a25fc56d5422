/*
 * row_bits.c - rows that the library writes against those that the host's CPU backend writes, bit by bit.
 *
 * Normal, heavy-tailed and tiny values, ties between two integers, zeros.  Exit 1 at the first difference.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml-cpu.h"
#include "vattn.h"

enum { DIM = 128, ROWS = 20000 };

static double uniform(void) {
    return (rand() + 0.5) / (RAND_MAX + 1.0);
}

static float value(int row) {
    const double u = uniform();
    switch (row % 5) {
    case 0:
        return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * uniform()));
    case 1:
        return (float)tan(3.14159265 * (u - 0.5));
    case 2:
        return (float)(1e-4 * (u - 0.5));
    case 3:
        return (float)(rand() % 255 - 127) + 0.5F * (float)(rand() % 2); /* ties, where the largest is 127 */
    default:
        return u < 0.5 ? 0.0F : (float)(u - 0.75);
    }
}

int main(void) {
    static const struct {
        enum ggml_type host;
        enum vattn_type ours;
    } types[] = {{GGML_TYPE_F16, VATTN_TYPE_F16}, {GGML_TYPE_BF16, VATTN_TYPE_BF16}, {GGML_TYPE_Q8_0, VATTN_TYPE_Q8_0}};
    ggml_cpu_init();
    for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
        for (int row = 0; row < ROWS; row++) {
            float x[DIM];
            char host[4 * DIM], ours[4 * DIM];
            for (int i = 0; i < DIM; i++) {
                x[i] = value(row);
            }
            if (row % 5 == 3) {
                x[7] = x[39] = x[71] = x[103] = 127.0F;
            }
            ggml_get_type_traits_cpu(types[t].host)->from_float(x, host, DIM);
            vattn_row_write(types[t].ours, x, DIM, ours);
            if (memcmp(host, ours, vattn_row_bytes(types[t].ours, DIM)) != 0) {
                printf("%s: row %d differs\n", ggml_type_name(types[t].host), row);
                return 1;
            }
        }
        printf("%s: %d rows, the same bits\n", ggml_type_name(types[t].host), ROWS);
    }
    return 0;
}
