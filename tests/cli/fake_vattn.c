/* SPDX-License-Identifier: MIT
 * A stand-in for the library whose honesty is set from outside, to test the judge (vattn verify):
 *
 *   FAKE_MISS    probability of a miss per draw and head (default 0); a miss has error 2 eps, a hit .3 eps
 *   FAKE_HEAD    the only head that misses (default all)
 *   FAKE_FROZEN  1: every draw is the same
 *   FAKE_ANSWER  0 exact, 1 certified (default), 2 uncertified: what every certificate claims
 *
 * The claim never shows the miss: only a comparison with the truth can find it. */
#include "half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vattn_experimental.h>

struct vattn_plan {
    struct vattn_options options;
    double miss;
    int head, answer, frozen;
};

static double setting(const char * name, double otherwise) {
    const char * text = getenv(name);
    return text ? strtod(text, NULL) : otherwise;
}

/* A uniform number of (seed, nonce, head). */
static double uniform(uint64_t seed, uint64_t nonce, uint64_t head) {
    uint64_t z = seed * 0x9e3779b97f4a7c15u + nonce * 0xd1342543de82ef95u + head * 0xda942042e4dd58b5u + 1;
    for (int i = 0; i < 3; i++) {
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
    }
    return (double)(z >> 11) * 0x1p-53;
}

static double element(const void * base, enum vattn_type type, size_t offset, int32_t i) {
    const char * row = (const char *)base + offset;
    uint16_t half;
    float single;
    if (type == VATTN_TYPE_F16) {
        memcpy(&half, row + 2 * i, 2);
        return (double)half_to_float(half);
    }
    memcpy(&single, row + 4 * i, 4);
    return (double)single;
}

static void attend_head(const struct vattn_options * o, const struct vattn_input * in, int32_t head, double * out) {
    const struct vattn_kv * kv = in->kv;
    const size_t g = (size_t)(head / (o->n_heads / o->n_kv_heads));
    double sum = 0;
    memset(out, 0, (size_t)o->v_dim * sizeof *out);
    for (int64_t r = 0; r < kv->n_keys; r++) {
        double score = 0, weight;
        for (int32_t j = 0; j < o->head_dim; j++)
            score += (double)in->q[head * o->head_dim + j] *
                     element(kv->k, o->k_type, g * kv->k_head_stride + (size_t)r * kv->k_row_stride, j);
        weight = exp((double)o->scale * score); /* small numbers in tests: no maximum needed */
        sum += weight;
        for (int32_t j = 0; j < o->v_dim; j++)
            out[j] += weight * element(kv->v, o->v_type, g * kv->v_head_stride + (size_t)r * kv->v_row_stride, j);
    }
    for (int32_t j = 0; j < o->v_dim; j++)
        out[j] /= sum;
}

static void answer_head(const struct vattn_plan * plan, const struct vattn_input * in, int32_t head) {
    const struct vattn_options * o = &plan->options;
    const uint64_t who = o->scope == VATTN_SCOPE_LAYER ? 0 : (uint64_t)head; /* a layer misses as one */
    const bool cheats = plan->head < 0 || plan->head == head;
    const uint64_t nonce = plan->frozen ? 0 : in->nonce;
    const double jitter = 1 - 0.01 * uniform(o->seed, nonce, who + 1000); /* no two draws have the same error */
    const double error = (cheats && uniform(o->seed, nonce, who) < plan->miss ? 2 * o->eps : 0.3 * o->eps) * jitter;
    double out[1024], size = 0;
    attend_head(o, in, head, out);
    for (int32_t j = 0; j < o->v_dim; j++)
        size += out[j] * out[j];
    out[0] += error * sqrt(size);
    for (int32_t j = 0; j < o->v_dim; j++)
        in->out[head * o->v_dim + j] = (float)out[j];
    in->cert[head] = (struct vattn_certificate){.answer = (enum vattn_answer)plan->answer,
                                                .rounds = 1,
                                                .n_keys = in->kv->n_keys,
                                                .rows_kv = in->kv->n_keys / 10,
                                                .rows_k = 3,
                                                .bytes = 1000,
                                                .error = 0.01f,
                                                .bound = plan->answer == 2 ? INFINITY : (float)o->eps};
}

enum vattn_status vattn_attend(const struct vattn_plan * plan, const struct vattn_input * in, void * work,
                               size_t bytes) {
    (void)work;
    (void)bytes;
    for (int32_t h = 0; h < plan->options.n_heads; h++)
        answer_head(plan, in, h);
    return plan->answer == 2 ? VATTN_STATUS_UNCERTIFIED : VATTN_STATUS_OK;
}

enum vattn_status vattn_plan_create(const struct vattn_options * options, struct vattn_plan ** plan,
                                    const char ** reason) {
    *reason = "options: the stand-in has no room";
    *plan = calloc(1, sizeof **plan);
    if (*plan == NULL || options->v_dim > 1024)
        return VATTN_STATUS_NO_MEMORY;
    (*plan)->options = *options;
    (*plan)->miss = setting("FAKE_MISS", 0);
    (*plan)->head = (int)setting("FAKE_HEAD", -1);
    (*plan)->frozen = (int)setting("FAKE_FROZEN", 0);
    (*plan)->answer = (int)setting("FAKE_ANSWER", 1);
    return VATTN_STATUS_OK;
}

void vattn_plan_free(struct vattn_plan * plan) {
    free(plan);
}

const struct vattn_options * vattn_plan_options(const struct vattn_plan * plan) {
    return &plan->options;
}

/* A call is one task. */
struct vattn_call {
    const struct vattn_plan * plan;
    const struct vattn_input * input;
    int32_t phase;
};

enum vattn_status vattn_call_begin(const struct vattn_plan * plan, const struct vattn_input * input, void * work,
                                   size_t bytes, struct vattn_call ** call) {
    (void)bytes;
    *call = work;
    **call = (struct vattn_call){plan, input, 0};
    return VATTN_STATUS_OK;
}

int32_t vattn_call_next(struct vattn_call * call) {
    return call->phase++ == 0;
}

void vattn_call_task(struct vattn_call * call, int32_t task) {
    (void)task;
    vattn_attend(call->plan, call->input, NULL, 0);
}

void vattn_call_work(struct vattn_call * call) {
    if (vattn_call_next(call) > 0) {
        vattn_call_task(call, 0);
    }
}

enum vattn_status vattn_call_end(struct vattn_call * call) {
    return call->plan->answer == 2 ? VATTN_STATUS_UNCERTIFIED : VATTN_STATUS_OK;
}

void vattn_call_keep_claims(struct vattn_call * call) {
    (void)call;
}

bool vattn_call_claim(const struct vattn_call * call, int32_t head, struct vattn_claim * out) {
    (void)call;
    (void)head;
    (void)out;
    return false;
}

bool vattn_call_log_denominator(const struct vattn_call * call, int32_t head, double * log_d) {
    (void)call, (void)head, (void)log_d;
    return false;
}

enum vattn_stage vattn_call_stage(const struct vattn_call * call) {
    (void)call;
    return VATTN_STAGE_NONE;
}

size_t vattn_call_bytes(const struct vattn_plan * plan) {
    (void)plan;
    return sizeof(struct vattn_call);
}

size_t vattn_state_bytes(const struct vattn_plan * plan) {
    (void)plan;
    return 64;
}

struct vattn_state * vattn_state_init(const struct vattn_plan * plan, void * memory) {
    (void)plan;
    return memory;
}

/* The index is a name only. */
struct vattn_index {
    int unused;
};

size_t vattn_index_bytes(const struct vattn_plan * plan, int64_t capacity) {
    (void)plan;
    return (size_t)capacity * 16;
}

enum vattn_status vattn_index_create(const struct vattn_plan * plan, int64_t capacity, struct vattn_index ** index) {
    (void)plan;
    (void)capacity;
    *index = calloc(1, sizeof **index);
    return VATTN_STATUS_OK;
}

void vattn_index_free(struct vattn_index * index) {
    free(index);
}

enum vattn_status vattn_index_calibrate(struct vattn_index * index, const struct vattn_kv * kv, const float * moment) {
    (void)index;
    (void)kv;
    (void)moment;
    return VATTN_STATUS_OK;
}

enum vattn_status vattn_index_encode(struct vattn_index * index, const struct vattn_kv * kv, int64_t begin,
                                     int64_t end) {
    (void)index;
    (void)kv;
    (void)begin;
    (void)end;
    return VATTN_STATUS_OK;
}

enum vattn_status vattn_selector_create(const struct vattn_plan * plan, const struct vattn_kv * kv,
                                        const struct vattn_selector_options * options, const float * moment,
                                        struct vattn_selector ** selector) {
    (void)plan, (void)kv, (void)options, (void)moment;
    *selector = NULL;
    return VATTN_STATUS_UNSUPPORTED;
}

void vattn_selector_free(struct vattn_selector * selector) {
    (void)selector;
}

size_t vattn_selector_bytes(const struct vattn_selector * selector) {
    (void)selector;
    return 0;
}

size_t vattn_selector_call_bytes(const struct vattn_plan * plan, const struct vattn_selector * selector) {
    (void)selector;
    return vattn_call_bytes(plan);
}

const char * vattn_version(void) {
    return "fake";
}

const char * vattn_plan_tier(const struct vattn_plan * plan) {
    (void)plan;
    return "fake";
}

const char * vattn_status_name(enum vattn_status status) {
    (void)status;
    return "fake";
}

const char * vattn_method_name(enum vattn_method method) {
    (void)method;
    return "fake";
}

const char * vattn_scope_name(enum vattn_scope scope) {
    (void)scope;
    return "fake";
}

bool vattn_method_parse(const char * name, enum vattn_method * out) {
    (void)name;
    *out = VATTN_METHOD_SPARSE;
    return true;
}

bool vattn_tiers_parse(const char * list, uint32_t * mask) {
    (void)list;
    *mask = 0;
    return true;
}

bool vattn_scope_parse(const char * name, enum vattn_scope * out) {
    *out = strcmp(name, "layer") == 0   ? VATTN_SCOPE_LAYER
           : strcmp(name, "token") == 0 ? VATTN_SCOPE_TOKEN
                                        : VATTN_SCOPE_HEAD;
    return true;
}
