/* SPDX-License-Identifier: MIT
 * A small capture of made-up numbers, for tests:
 *
 *   make_capture OUT [steps=4] [heads=6] [kv_heads=2] [dim=64] [keys=4096] [spread=2] [seed=1] [f32=0] [moment=1] [nan=0] */
#include "complain.h"
#include "half.h"
#include "safetensors_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wishes {
    double steps, heads, kv_heads, dim, keys, spread, seed, f32, moment, nan;
};

static void parse_wish(struct wishes * w, const char * text) {
    const struct {
        const char * key;
        double * value;
    } table[] = {{"steps", &w->steps},   {"heads", &w->heads},   {"kv_heads", &w->kv_heads}, {"dim", &w->dim},
                 {"keys", &w->keys},     {"spread", &w->spread}, {"seed", &w->seed},         {"f32", &w->f32},
                 {"moment", &w->moment}, {"nan", &w->nan}};
    const char * equals = strchr(text, '=');
    for (size_t i = 0; equals != NULL && i < sizeof table / sizeof *table; i++)
        if (strlen(table[i].key) == (size_t)(equals - text) &&
            strncmp(table[i].key, text, (size_t)(equals - text)) == 0) {
            *table[i].value = strtod(equals + 1, NULL);
            return;
        }
    give_up("%s: unknown wish; see the top of make_capture.c", text);
}

static double uniform(uint64_t * state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return ((double)((z ^ z >> 31) >> 11) + 0.5) * 0x1p-53;
}

static float normal(uint64_t * state) {
    const double r = sqrt(-2 * log(uniform(state)));
    return (float)(r * cos(6.283185307179586 * uniform(state)));
}

/* Key coordinate j has standard deviation (1+j)^-1/2 around a mean of its own; values have a mean of one half. */
static float row_element(size_t j, int is_value, uint64_t * state) {
    if (is_value)
        return 0.5f + normal(state);
    return 0.3f * (float)((j * 7) % 5) + normal(state) / sqrtf(1.0f + (float)j);
}

static void * fill_rows(const struct wishes * w, int is_value, uint64_t * state) {
    const size_t d = (size_t)w->dim, n = (size_t)w->kv_heads * (size_t)w->keys * d;
    void * rows = must_alloc(n, 4);
    for (size_t i = 0; i < n; i++) {
        const float x = row_element(i % d, is_value, state);
        if (w->f32 != 0)
            ((float *)rows)[i] = x;
        else
            ((uint16_t *)rows)[i] = half_from_float(x);
    }
    if (w->nan != 0) {
        if (w->f32 != 0)
            ((float *)rows)[n / 2] = NAN;
        else
            ((uint16_t *)rows)[n / 2] = 0x7e00u;
    }
    return rows;
}

int main(int argc, char ** argv) {
    struct wishes w = {4, 6, 2, 64, 4096, 2, 1, 0, 1, 0};
    complain_as("make_capture");
    for (int i = 2; i < argc; i++)
        parse_wish(&w, argv[i]);
    if (argc < 2)
        give_up("OUT is missing");
    const int64_t steps = (int64_t)w.steps, heads = (int64_t)w.heads, kv = (int64_t)w.kv_heads, d = (int64_t)w.dim;
    const int64_t keys = (int64_t)w.keys;
    uint64_t state = (uint64_t)w.seed;
    double sum = 0;
    for (int64_t j = 0; j < d; j++)
        sum += 1.0 / (1.0 + (double)j);
    /* Var(scale <q, k>) = scale^2 Var(q_j) sum_j Var(k_j), scale^2 = 1/d */
    const float q_sd = (float)(w.spread * sqrt((double)d / sum));
    float * q = must_alloc((size_t)(steps * heads * d), sizeof *q);
    int32_t * n = must_alloc((size_t)steps, sizeof *n);
    float * moment = must_alloc((size_t)(kv * d * d), sizeof *moment);
    char reason[256];
    for (int64_t i = 0; i < steps * heads * d; i++)
        q[i] = q_sd * normal(&state);
    for (int64_t i = 0; i < steps; i++)
        n[i] = (int32_t)(keys - steps + 1 + i);
    for (int64_t i = 0; i < kv * d; i++)
        moment[i * d + i % d] = q_sd * q_sd;
    const char * type = w.f32 != 0 ? "F32" : "F16";
    const struct safetensor_out tensors[] = {
        {"q", "F32", 3, {steps, heads, d}, q},
        {"n", "I32", 1, {steps}, n},
        {"k", type, 3, {kv, keys, d}, fill_rows(&w, 0, &state)},
        {"v", type, 3, {kv, keys, d}, fill_rows(&w, 1, &state)},
        {"q_second_moment", "F32", 3, {kv, d, d}, moment},
    };
    struct safetensors_text texts[] = {{"scale", ""}, {"layer", "3"}, {"model", "made up"}, {"text", "none"}};
    snprintf(texts[0].text, sizeof texts[0].text, "%.9g", 1 / sqrt((double)d));
    if (!safetensors_write(argv[1], tensors, w.moment != 0 ? 5 : 4, texts, 4, reason, sizeof reason))
        give_up("%s: %s", argv[1], reason);
    for (int i = 2; i < 4; i++)
        free((void *)(uintptr_t)tensors[i].data);
    free(q);
    free(n);
    free(moment);
    return 0;
}
