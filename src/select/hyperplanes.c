/* SPDX-License-Identifier: MIT */
#include "select/hyperplanes.h"

#include <math.h>

#include "base/random.h"

void vattn_hyperplanes(uint64_t seed, int32_t n, int32_t dim, float * plane) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const double turn = 6.283185307179586;
    for (int64_t i = 0, total = (int64_t)n * dim; i < total; i += 2) { /* Box and Muller: two normals at a time */
        const uint32_t counter[4] = {(uint32_t)(i / 2), (uint32_t)(i >> 33), 0,
                                     vattn_random_stream(VATTN_RANDOM_CALIBRATE, 0, 1)};
        uint32_t word[4];
        vattn_philox4x32(counter, key, word);
        double radius = sqrt(-2.0 * log(vattn_random_uniform(word[0]))), angle = turn * vattn_random_uniform(word[1]);
        plane[i] = (float)(radius * cos(angle));
        if (i + 1 < total) {
            plane[i + 1] = (float)(radius * sin(angle));
        }
    }
}
