/* SPDX-License-Identifier: MIT */
#include "generator_draft.h"

#include "complain.h"
#include "half.h"
#include "safetensors_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double DECAY = 0.75; /* sd of key coordinate j is (1 + j)^-DECAY, as of real keys */
static const double SPREAD = 2.0;
static const uint64_t QUERY_STREAM = 0x51ull << 56, MEAN_STREAM = 0x52ull << 56;

/* splitmix64 */
static uint64_t next_bits(struct random * random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double random_uniform(struct random * random) {
    return ((double)(next_bits(random) >> 11) + 0.5) * 0x1p-53;
}

double random_normal(struct random * random) {
    const double r = sqrt(-2 * log(random_uniform(random)));
    return r * cos(6.283185307179586 * random_uniform(random));
}

static struct random stream(uint64_t seed, uint64_t number) {
    struct random random = {seed * 0xd1342543de82ef95u + number};
    random.state = next_bits(&random) ^ number;
    return random;
}

const struct generator * generator_find(const char * name) {
    for (int i = 0; i < generator_count; i++)
        if (strcmp(generator_table[i].name, name) == 0)
            return &generator_table[i];
    return NULL;
}

static void check_size(const char * name, const struct draft * draft) {
    if (draft->n < 2 || draft->n > INT32_MAX || draft->d < 8 || draft->d > 576 || draft->group < 1 ||
        draft->kv_heads < 1 || draft->group * draft->kv_heads > 4096)
        give_up("--generator %s: keys must be 2 to 2147483647, head_dim 8 to 576, group and kv_heads at least 1", name);
}

static void usual_shape(struct draft * draft) {
    struct random random = stream(draft->seed, MEAN_STREAM);
    draft->spread = SPREAD;
    draft->steps = 1;
    draft->visible[0] = (int32_t)draft->n;
    for (int32_t j = 0; j < draft->d; j++) {
        draft->key_mean[j] = 0.3f * (float)(j * 7 % 5);
        draft->key_sd[j] = (float)pow(1.0 + j, -DECAY);
        draft->v_mean[j] = (float)random_normal(&random);
        draft->v_sd[j] = (float)(0.5 * pow((1.0 + j) / draft->d, -DECAY));
        draft->q_sd[j] = 1;
    }
}

/* Var(scale <q, k>) = scale^2 sum_j q_sd_j^2 key_sd_j^2 */
static void usual_queries(struct draft * draft) {
    const size_t d = (size_t)draft->d, heads = (size_t)draft->n_heads;
    double sum = 0;
    for (size_t j = 0; j < d; j++)
        sum += pow((double)draft->q_sd[j] * (double)draft->key_sd[j], 2);
    for (size_t j = 0; j < d; j++)
        draft->q_sd[j] *= (float)(draft->spread / (double)draft->scale / sqrt(sum));
    for (size_t i = 0; i < (size_t)draft->steps * heads; i++) {
        struct random random = stream(draft->seed, QUERY_STREAM + i);
        for (size_t j = 0; j < d; j++)
            draft->q[i * d + j] = draft->q_sd[j] * (float)random_normal(&random);
    }
    for (size_t g = 0; g < (size_t)draft->kv_heads; g++)
        for (size_t j = 0; j < d; j++)
            draft->moment[(g * d + j) * d + j] = draft->q_sd[j] * draft->q_sd[j];
}

static void make_row(const struct generator * generator, const struct draft * draft, int32_t g, int64_t row, float * k,
                     float * v) {
    struct random random = stream(draft->seed, (uint64_t)g << 40 | (uint64_t)row);
    for (int32_t j = 0; j < draft->d; j++) {
        k[j] = draft->key_mean[j] + draft->key_sd[j] * (float)random_normal(&random);
        v[j] = draft->v_mean[j] + draft->v_sd[j] * (float)random_normal(&random);
    }
    if (generator->row != NULL)
        generator->row(draft, g, row, &random, k, v);
}

static void make_rows(const struct generator * generator, const struct draft * draft, uint16_t * k, uint16_t * v,
                      int threads) {
    const size_t d = (size_t)draft->d;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < draft->n * draft->kv_heads; i++) {
        float row[2][576];
        make_row(generator, draft, (int32_t)(i / draft->n), i % draft->n, row[0], row[1]);
        for (size_t j = 0; j < d; j++) {
            k[(size_t)i * d + j] = half_from_float(fminf(65504.0f, fmaxf(-65504.0f, row[0][j])));
            v[(size_t)i * d + j] = half_from_float(fminf(65504.0f, fmaxf(-65504.0f, row[1][j])));
        }
    }
    (void)threads;
}

static struct draft draft_create(const struct generator * generator, const struct generator_size * size) {
    const struct generator_size * usual = &generator->usual;
    struct draft draft = {
        .n = size->keys > 0    ? size->keys
             : usual->keys > 0 ? usual->keys
                               : 8192,
        .d = size->head_dim > 0    ? size->head_dim
             : usual->head_dim > 0 ? usual->head_dim
                                   : 64,
        .group = size->group > 0    ? size->group
                 : usual->group > 0 ? usual->group
                                    : 3,
        .kv_heads = size->kv_heads > 0    ? size->kv_heads
                    : usual->kv_heads > 0 ? usual->kv_heads
                                          : 2,
        .seed = size->seed,
    };
    check_size(generator->name, &draft);
    const size_t d = (size_t)draft.d;
    draft.n_heads = draft.group * draft.kv_heads;
    draft.scale = (float)(1 / sqrt((double)draft.d));
    draft.key_mean = must_alloc(5 * d, sizeof(float));
    draft.key_sd = draft.key_mean + d;
    draft.v_mean = draft.key_sd + d;
    draft.v_sd = draft.v_mean + d;
    draft.q_sd = draft.v_sd + d;
    return draft;
}

struct capture generator_make(const struct generator * generator, const struct generator_size * size, int threads) {
    struct draft draft = draft_create(generator, size);
    struct capture capture = {0};
    const size_t d = (size_t)draft.d, rows = (size_t)draft.n * (size_t)draft.kv_heads;
    char * path = must_alloc(strlen(generator->name) + 16, 1);
    sprintf(path, "generator:%s", generator->name);
    usual_shape(&draft);
    if (generator->shape != NULL)
        generator->shape(&draft);
    draft.spread = size->spread > 0 ? size->spread : draft.spread;
    draft.q = must_alloc((size_t)draft.steps * (size_t)draft.n_heads * d, sizeof(float));
    draft.moment = must_alloc((size_t)draft.kv_heads * d * d, sizeof(float));
    usual_queries(&draft);
    if (generator->queries != NULL)
        generator->queries(&draft);
    uint16_t *k = must_alloc(rows * d, 2), *v = must_alloc(rows * d, 2);
    make_rows(generator, &draft, k, v, threads);
    int32_t * n = must_alloc((size_t)draft.steps, sizeof *n);
    memcpy(n, draft.visible, (size_t)draft.steps * sizeof *n);
    free(draft.key_mean);
    capture = (struct capture){.path = path,
                               .name = path + 10,
                               .n_steps = draft.steps,
                               .n_heads = draft.n_heads,
                               .n_kv_heads = draft.kv_heads,
                               .head_dim = draft.d,
                               .v_dim = draft.d,
                               .n_keys = draft.n,
                               .k_type = VATTN_TYPE_F16,
                               .v_type = VATTN_TYPE_F16,
                               .scale = draft.scale,
                               .q = draft.q,
                               .n = n,
                               .k = k,
                               .v = v,
                               .q_second_moment = draft.moment,
                               .calibrate_rows = draft.calibrate_rows,
                               .made = {path, draft.q, n, k, v, draft.moment}};
    return capture;
}

bool generator_save(const struct capture * capture, const char * directory, char * reason, size_t reason_bytes) {
    const int64_t d = capture->head_dim, kv = capture->n_kv_heads;
    char path[4096];
    const struct safetensor_out tensors[] = {
        {"q", "F32", 3, {capture->n_steps, capture->n_heads, d}, capture->q},
        {"n", "I32", 1, {capture->n_steps}, capture->n},
        {"q_second_moment", "F32", 3, {kv, d, d}, capture->q_second_moment},
        {"k", "F16", 3, {kv, capture->n_keys, d}, capture->k},
        {"v", "F16", 3, {kv, capture->n_keys, d}, capture->v},
    };
    struct safetensors_text texts[] = {
        {"scale", ""}, {"layer", "0"}, {"model", ""}, {"text", "none"}, {"calibrate_rows", ""}};
    snprintf(texts[0].text, sizeof texts[0].text, "%.9g", (double)capture->scale);
    snprintf(texts[2].text, sizeof texts[2].text, "%s", capture->path);
    snprintf(texts[4].text, sizeof texts[4].text, "%lld", (long long)capture->calibrate_rows);
    if ((size_t)snprintf(path, sizeof path, "%s/%s.safetensors", directory, capture->name) >= sizeof path) {
        snprintf(reason, reason_bytes, "the path is too long");
        return false;
    }
    return safetensors_write(path, tensors, 5, texts, capture->calibrate_rows > 0 ? 5 : 4, reason, reason_bytes);
}
