/* SPDX-License-Identifier: MIT
 * vattn attend: one decode step of a capture, answered R times, with every certificate, as a safetensors file. */
#include "complain.h"
#include "methods.h"
#include "progress.h"
#include "safetensors_write.h"
#include "subject.h"
#include "verbs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attend_request {
    struct attend_flags flags;
    const char * capture;
    const char * out;
    int64_t step; /* -1 = last */
    bool progress;
};

/* The tensors of the output, shapes as in docs/vattn.1. */
struct answers {
    int64_t draws;
    int64_t * bytes;   /* [R] */
    float * out;       /* [R, n_heads, v_dim] */
    float * bound;     /* [R, n_heads] */
    int32_t * rows_kv; /* [R, n_kv_heads] */
    int32_t * rows_k;  /* [R, n_kv_heads] */
    uint8_t * status;  /* [R, n_heads] */
    uint8_t * rounds;  /* [R, n_kv_heads] */
};

static struct answers answers_create(const struct capture * capture, int64_t draws) {
    const size_t heads = (size_t)draws * (size_t)capture->n_heads,
                 kv_heads = (size_t)draws * (size_t)capture->n_kv_heads;
    return (struct answers){
        .draws = draws,
        .bytes = must_alloc((size_t)draws, sizeof(int64_t)),
        .out = must_alloc(heads * (size_t)capture->v_dim, sizeof(float)),
        .bound = must_alloc(heads, sizeof(float)),
        .rows_kv = must_alloc(kv_heads, sizeof(int32_t)),
        .rows_k = must_alloc(kv_heads, sizeof(int32_t)),
        .status = must_alloc(heads, 1),
        .rounds = must_alloc(kv_heads, 1),
    };
}

static void answers_free(struct answers * answers) {
    free(answers->bytes);
    free(answers->out);
    free(answers->bound);
    free(answers->rows_kv);
    free(answers->rows_k);
    free(answers->status);
    free(answers->rounds);
}

static void record(struct answers * answers, int64_t r, const struct subject * subject, const struct caller * caller,
                   bool whole_layer) {
    const size_t n_heads = (size_t)subject->capture->n_heads, n_kv = (size_t)subject->capture->n_kv_heads;
    const size_t v_dim = (size_t)subject->capture->v_dim, at = (size_t)r;
    const enum vattn_answer joint = joint_answer(caller->cert, subject->capture->n_heads);
    float worst_bound = 0;
    memcpy(answers->out + at * n_heads * v_dim, caller->out, n_heads * v_dim * sizeof(float));
    for (size_t h = 0; h < n_heads; h++)
        worst_bound = fmaxf(worst_bound, caller->cert[h].bound);
    for (size_t h = 0; h < n_heads; h++) {
        answers->status[at * n_heads + h] = (uint8_t)(whole_layer ? joint : caller->cert[h].answer);
        answers->bound[at * n_heads + h] = whole_layer ? worst_bound : caller->cert[h].bound;
    }
    for (size_t g = 0; g < n_kv; g++) {
        const struct vattn_certificate * c = &caller->cert[g * (n_heads / n_kv)];
        answers->rows_kv[at * n_kv + g] = (int32_t)c->rows_kv;
        answers->rows_k[at * n_kv + g] = (int32_t)c->rows_k;
        answers->rounds[at * n_kv + g] = (uint8_t)(c->rounds > 255 ? 255 : c->rounds);
    }
    answers->bytes[at] = subject_reading(subject, caller->cert).bytes;
}

static void write_answers(const struct attend_request * request, const struct subject * subject,
                          const struct answers * answers) {
    const struct vattn_options * o = vattn_plan_options(subject->plan);
    const int64_t R = answers->draws, H = o->n_heads, G = o->n_kv_heads;
    const struct safetensor_out tensors[] = {
        {"bytes", "I64", 1, {R}, answers->bytes},      {"out", "F32", 3, {R, H, o->v_dim}, answers->out},
        {"bound", "F32", 2, {R, H}, answers->bound},   {"rows_kv", "I32", 2, {R, G}, answers->rows_kv},
        {"rows_k", "I32", 2, {R, G}, answers->rows_k}, {"status", "U8", 2, {R, H}, answers->status},
        {"rounds", "U8", 2, {R, G}, answers->rounds},
    };
    struct safetensors_text texts[] = {{"method", ""}, {"scope", ""}, {"eps", ""},  {"delta", ""},   {"seed", ""},
                                       {"warm", ""},   {"step", ""},  {"keys", ""}, {"capture", ""}, {"vattn", ""}};
    char reason[256];
    snprintf(texts[0].text, sizeof texts[0].text, "%s", vattn_method_name(o->method));
    snprintf(texts[1].text, sizeof texts[1].text, "%s", vattn_scope_name(o->scope));
    snprintf(texts[2].text, sizeof texts[2].text, "%g", o->eps);
    snprintf(texts[3].text, sizeof texts[3].text, "%g", o->delta);
    snprintf(texts[4].text, sizeof texts[4].text, "%llu", (unsigned long long)o->seed);
    snprintf(texts[5].text, sizeof texts[5].text, "%d", request->flags.warm);
    snprintf(texts[6].text, sizeof texts[6].text, "%d", subject->step);
    snprintf(texts[7].text, sizeof texts[7].text, "%lld", (long long)subject->n);
    snprintf(texts[8].text, sizeof texts[8].text, "%s", subject->capture->name);
    snprintf(texts[9].text, sizeof texts[9].text, "%s", vattn_version());
    if (!safetensors_write(request->out, tensors, (int)(sizeof tensors / sizeof *tensors), texts,
                           (int)(sizeof texts / sizeof *texts), reason, sizeof reason))
        give_up("%s: %s; choose another place with -o", request->out, reason);
}

/* One line for people; returns the number of uncertified heads. */
static int64_t summarise(const struct subject * subject, const struct answers * answers) {
    const int64_t heads = answers->draws * subject->capture->n_heads;
    const int64_t kv_heads = answers->draws * subject->capture->n_kv_heads;
    int64_t count[3] = {0, 0, 0};
    double rows = 0;
    for (int64_t i = 0; i < heads; i++)
        count[answers->status[i] < 2 ? answers->status[i] : 2]++;
    for (int64_t i = 0; i < kv_heads; i++)
        rows += (double)answers->rows_kv[i] / (double)subject->n / (double)kv_heads;
    printf(
        "%s step %d: %lld keys, %lld draw%s; heads: %lld certified, %lld exact, %lld uncertified; rows read %.2f %%\n",
        subject->capture->name, subject->step, (long long)subject->n, (long long)answers->draws,
        answers->draws == 1 ? "" : "s", (long long)count[1], (long long)count[0], (long long)count[2], 100 * rows);
    return count[2];
}

static int attend(const struct attend_request * request) {
    struct capture capture;
    struct subject subject;
    struct answers answers;
    struct caller caller;
    struct progress progress;
    int64_t uncertified;
    capture_must_open(request->capture, &capture);
    if (request->flags.retyped)
        capture_store_as(&capture, request->flags.k_type, request->flags.v_type);
    if (request->step >= capture.n_steps)
        give_up("--step: %s has steps 0 to %d", request->capture, capture.n_steps - 1);
    subject_prepare(&subject, &capture, request->step < 0 ? capture.n_steps - 1 : (int32_t)request->step,
                    &request->flags);
    answers = answers_create(&capture, request->flags.draws);
    caller = caller_create(&subject);
    progress_start(&progress, "attend: draws", request->flags.draws, request->progress);
    for (int64_t r = 0; r < request->flags.draws; r++) {
        const enum vattn_status status = subject_draw(&subject, &caller, (uint64_t)r, request->flags.threads);
        if (status < 0)
            give_up("%s: step %d cannot be attended: %s; 'vattn inspect' checks the file", request->capture,
                    subject.step, vattn_status_name(status));
        record(&answers, r, &subject, &caller, request->flags.options.scope == VATTN_SCOPE_LAYER);
        progress_add(&progress, 1, true);
    }
    progress_end(&progress);
    write_answers(request, &subject, &answers);
    uncertified = summarise(&subject, &answers);
    caller_free(&caller);
    answers_free(&answers);
    subject_free(&subject);
    capture_close(&capture);
    return uncertified > 0 ? EXIT_BROKEN : EXIT_FINE;
}

enum { KEY_STEP = 0x200, KEY_PROGRESS };

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "where the answers go (required)", 0},
    {"step", KEY_STEP, "I", 0, "decode step of the capture, from 0 (default: the last)", 0},
    {"progress", KEY_PROGRESS, NULL, 0, "show progress even if stderr is not a terminal", 0},
    {0},
};

static error_t parse(int key, char * text, struct argp_state * state) {
    struct attend_request * request = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &request->flags;
        return 0;
    case 'o':
        request->out = text;
        return 0;
    case KEY_STEP:
        request->step = flag_whole("--step", text, 0, INT32_MAX);
        return 0;
    case KEY_PROGRESS:
        request->progress = true;
        return 0;
    case ARGP_KEY_ARG:
        if (request->capture != NULL)
            give_up("%s: attend takes one capture; call it once per file", text);
        request->capture = text;
        return 0;
    case ARGP_KEY_END:
        if (request->capture == NULL)
            give_up("CAPTURE is missing; try 'vattn attend layer09.safetensors -o answers.safetensors'");
        if (request->out == NULL)
            give_up("-o is missing; name the file for the answers, for example -o answers.safetensors");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] =
    "Answer one decode step of a capture and write outputs and certificates."
    "\vExamples:\n"
    "  vattn attend layer09.safetensors -o answers.safetensors\n"
    "      the last step, sparse, eps = delta = 0.05, one draw\n"
    "  vattn attend layer09.safetensors -o answers.safetensors --step 3 --eps 0.1 --draws 100 --warm 3\n"
    "      step 3 a hundred times with fresh randomness, after the controller saw steps 0 to 2\n"
    "  vattn attend layer09.safetensors -o exact.safetensors --method exact\n"
    "\n"
    "Output tensors: out f32 [draws, n_heads, v_dim], bound f32 and status u8 [draws, n_heads] (0 exact, 1 certified, "
    "2 uncertified), rows_kv i32, rows_k i32 and rounds u8 [draws, n_kv_heads], bytes i64 [draws].\n"
    "Exit code: 0, 1 if a head is uncertified, 2 for bad usage or input.";

int verb_attend(int argc, char ** argv) {
    static const struct argp_child children[] = {{&attend_flags_argp, 0, "How to attend:", 1}, {0}};
    static const struct argp argp = {options, parse, "CAPTURE -o FILE", doc, children, NULL, NULL};
    struct attend_request request = {.step = -1};
    attend_flags_init(&request.flags, 1);
    parse_arguments(&argp, argc, argv, &request);
    return attend(&request);
}
