/* SPDX-License-Identifier: MIT
 * vattn verify: is the promise kept, head by head, on real queries?
 *
 * For every (capture, step): truth once in double precision, then thousands of draws of the whole procedure, each one
 * from the same frozen controller state.  The test is the two-stage binomial one of binomial.h. */
#include "binomial.h"
#include "complain.h"
#include "coverage.h"
#include "generator.h"
#include "verbs.h"
#include "verify_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double FALSE_ALARM = 1e-6;
static const double LOOK_AGAIN = 0.05;
enum { STAGE2_DRAWS_FACTOR = 10 };

struct verify_request {
    struct attend_flags flags;
    char ** paths;
    int n_paths;
    const struct generator ** generators;
    int n_generators;
    struct generator_size size;
    const char * save; /* folder; nothing is verified then */
    int64_t * steps; /* NULL = first, middle, last */
    int n_steps;
    const char * json;
    double claim_eps; /* 0 = eps */
    bool single_stage, progress, each_case;
};

struct verify_run {
    const struct verify_request * request;
    struct capture * captures; /* files, then generators */
    int n_captures;
    struct case_result * cases;
    int64_t n_cases;
    struct verify_limits limits;
    struct verify_totals totals;
    struct progress progress;
    int64_t n_runs; /* (capture, step) pairs */
};

/* The steps of one capture to verify: as asked, or first, middle and last without repetition, of a made one all. */
static int steps_of(const struct verify_request * request, const struct capture * capture, int32_t * steps) {
    const int32_t last = capture->n_steps - 1;
    const int32_t usual[] = {0, last / 2, last};
    int n = 0;
    if (request->steps != NULL) {
        for (int i = 0; i < request->n_steps; i++) {
            if (request->steps[i] > last)
                give_up("--steps: %s has steps 0 to %d", capture->path, last);
            steps[n++] = (int32_t)request->steps[i];
        }
        return n;
    }
    if (capture->made[0] != NULL) {
        for (; n < capture->n_steps; n++)
            steps[n] = n;
        return n;
    }
    for (int i = 0; i < 3; i++)
        if (i == 0 || usual[i] != usual[i - 1])
            steps[n++] = usual[i];
    return n;
}

static int32_t cases_per_step(const struct verify_request * request, const struct capture * capture) {
    return cases_of_call(capture, request->flags.options.scope);
}

/* Scope token gives every head of every layer an equal share of delta; that share is what one case is tested for. */
static double case_delta(const struct verify_request * request, const struct capture * captures) {
    const struct vattn_options * options = &request->flags.options;
    const int32_t n_layers = options->n_layers > 0 ? options->n_layers : 1;
    if (options->scope != VATTN_SCOPE_TOKEN)
        return options->delta;
    return options->delta / ((double)captures[0].n_heads * n_layers);
}

static struct case_limit limit_of(const struct verify_limits * limits, double delta) {
    const double share = FALSE_ALARM / (double)limits->cases;
    return (struct case_limit){
        .delta = delta,
        .limit1 = binomial_limit(limits->draws1, delta, limits->two_stages ? LOOK_AGAIN : share),
        .limit2 = binomial_limit(limits->draws2, delta, share),
    };
}

static void set_limits(struct verify_run * run) {
    const struct verify_request * request = run->request;
    struct verify_limits * limits = &run->limits;
    const double delta = case_delta(request, run->captures);
    limits->cases = run->n_cases;
    limits->two_stages = !request->single_stage;
    limits->draws1 = request->flags.draws;
    limits->draws2 = limits->draws1 * STAGE2_DRAWS_FACTOR;
    limits->usual = limit_of(limits, delta);
    if (request->flags.options.scope == VATTN_SCOPE_TOKEN)
        limits->joint = limit_of(limits, delta * run->captures[0].n_heads);
}

/* Draw the suspects of one step again, with nonces that stage 1 did not use.  Batches end early once every suspect has
 * more misses than the whole stage allows: further draws could not save it. */
static void second_stage(struct verify_run * run, const struct subject * subject, const struct truth * truth,
                         struct case_result * cases, int32_t n_cases) {
    const struct verify_limits * limits = &run->limits;
    const int64_t batch = limits->draws1;
    bool open = true;
    progress_extend(&run->progress, limits->draws2);
    for (int64_t done = 0; open && done < limits->draws2; done += batch) {
        struct draw_table table = draw_table_run(subject, truth, run->request->flags.options.scope, limits->draws1 + done, batch,
                                                 run->request->flags.threads, &run->progress);
        open = false;
        for (int32_t i = 0; i < n_cases; i++)
            if (cases[i].suspect) {
                cases[i].draws2 += batch;
                cases[i].misses2 += case_condense(&table, i, run->totals.eps).misses;
                cases[i].failed = cases[i].misses2 > limits_of(limits, &cases[i])->limit2 || cases[i].repeats;
                open |= !cases[i].failed;
            }
        draw_table_free(&table);
        if (!open)
            progress_extend(&run->progress, -(limits->draws2 - done - batch));
    }
}

/* Means over draws, added to the totals; returns the mean number of looks. */
static double add_readings(struct verify_run * run, const struct subject * subject, const struct draw_table * table) {
    const double weight = 1.0 / ((double)table->draws * (double)run->n_runs);
    double rounds = 0;
    for (int64_t r = 0; r < table->draws; r++) {
        run->totals.rows_kv_fraction += weight * table->reading[r].rows_kv_fraction;
        run->totals.bytes_fraction += weight * table->reading[r].bytes_fraction;
        run->totals.rounds += weight * table->reading[r].rounds;
        rounds += table->reading[r].rounds / (double)table->draws;
    }
    run->totals.index_bytes_per_token += (double)subject->index_bytes / (double)subject->n / (double)run->n_runs;
    return rounds;
}

static void verify_step(struct verify_run * run, int number, int32_t step, struct case_result * cases) {
    const struct verify_request * request = run->request;
    const struct capture * capture = &run->captures[number];
    const enum vattn_scope scope = request->flags.options.scope;
    const int32_t n_cases = cases_per_step(request, capture);
    struct truth truth;
    struct subject subject;
    struct draw_table table;
    double rounds;
    bool any_suspect = false;
    subject_prepare(&subject, capture, step, &request->flags);
    truth = truth_attend(capture, step, request->flags.threads);
    table = draw_table_run(&subject, &truth, scope, 0, request->flags.draws, request->flags.threads, &run->progress);
    for (int32_t i = 0; i < n_cases; i++) {
        cases[i] = case_condense(&table, i, run->totals.eps);
        cases[i].capture = number;
        cases[i].step = step;
        cases[i].head = scope == VATTN_SCOPE_LAYER || i >= capture->n_heads ? -1 : i;
        cases[i].joint = i >= capture->n_heads;
        cases[i].n = subject.n;
        cases[i].tail = cases[i].head >= 0 ? truth.tail[i] : 0;
        cases[i].suspect = cases[i].misses > limits_of(&run->limits, &cases[i])->limit1;
        cases[i].failed = cases[i].suspect || cases[i].repeats;
        any_suspect |= cases[i].suspect;
    }
    rounds = add_readings(run, &subject, &table);
    draw_table_free(&table);
    if (any_suspect && run->limits.two_stages)
        second_stage(run, &subject, &truth, cases, n_cases);
    progress_end(&run->progress);
    verify_print_step(capture->name, cases, n_cases, rounds);
    if (request->each_case)
        verify_print_cases(cases, n_cases, &run->limits, run->totals.eps);
    subject_free(&subject);
    truth_free(&truth);
}

/* Room for the steps of any capture. */
static int32_t * step_list(const struct verify_run * run, int number) {
    return must_alloc((size_t)(run->request->n_steps + 3 + run->captures[number].n_steps), sizeof(int32_t));
}

static void count_cases(struct verify_run * run, int number) {
    const struct verify_request * request = run->request;
    const struct capture * capture = &run->captures[number];
    int32_t * steps = step_list(run, number);
    const int n_steps = steps_of(request, capture, steps);
    run->n_runs += n_steps;
    run->n_cases += (int64_t)n_steps * cases_per_step(request, capture);
    free(steps);
    if (request->flags.options.scope == VATTN_SCOPE_TOKEN && capture->n_heads != run->captures[0].n_heads)
        give_up("%s: has another number of heads than %s; verify them apart in scope token", capture->path,
                run->captures[0].path);
}

static void open_captures(struct verify_run * run) {
    const struct verify_request * request = run->request;
    run->n_captures = request->n_paths + request->n_generators;
    run->captures = must_alloc((size_t)run->n_captures, sizeof *run->captures);
    for (int i = 0; i < run->n_captures; i++) {
        if (i < request->n_paths)
            capture_must_open(request->paths[i], &run->captures[i]);
        else
            run->captures[i] =
                generator_make(request->generators[i - request->n_paths], &request->size, request->flags.threads);
        if (request->flags.retyped)
            capture_store_as(&run->captures[i], request->flags.k_type, request->flags.v_type);
        count_cases(run, i);
    }
    run->cases = must_alloc((size_t)run->n_cases, sizeof *run->cases);
}

static void close_captures(struct verify_run * run) {
    for (int i = 0; i < run->n_captures; i++)
        capture_close(&run->captures[i]);
    free(run->captures);
    free(run->cases);
}

static void verify_all(struct verify_run * run) {
    struct case_result * next = run->cases;
    progress_start(&run->progress, "verify: draws", run->n_runs * run->request->flags.draws, run->request->progress);
    for (int i = 0; i < run->n_captures; i++) {
        int32_t * steps = step_list(run, i);
        const int n_steps = steps_of(run->request, &run->captures[i], steps);
        for (int s = 0; s < n_steps; s++) {
            verify_step(run, i, steps[s], next);
            next += cases_per_step(run->request, &run->captures[i]);
        }
        free(steps);
    }
}

/* --save: made captures as files, one after another, for others to replay. */
static int save_generators(const struct verify_request * request) {
    for (int i = 0; i < request->n_generators; i++) {
        char reason[256];
        struct capture capture = generator_make(request->generators[i], &request->size, request->flags.threads);
        if (!generator_save(&capture, request->save, reason, sizeof reason))
            give_up("--save %s: %s: %s; choose another place", request->save, capture.name, reason);
        printf("%s/%s.safetensors: %s\n", request->save, capture.name, request->generators[i]->what);
        capture_close(&capture);
    }
    return EXIT_FINE;
}

static int list_generators(void) {
    static const char * const notes[] = {
        [GENERATOR_USUAL] = "",
        [GENERATOR_LONG] = " [not in 'all': long]",
        [GENERATOR_OUTSIDE] = " [not in 'all': no sample can see it]",
    };
    for (int i = 0; i < generator_count; i++)
        printf("%-20s %s%s\n", generator_table[i].name, generator_table[i].what, notes[generator_table[i].note]);
    return EXIT_FINE;
}

static int verify(const struct verify_request * request) {
    const struct vattn_options * options = &request->flags.options;
    struct verify_run run = {.request = request};
    const double started = seconds_now();
    char reason[256];
    int64_t failed;
    run.totals.eps = request->claim_eps > 0 ? request->claim_eps : options->eps;
    open_captures(&run);
    set_limits(&run);
    verify_print_limits(&run.limits);
    verify_all(&run);
    verify_add_up(run.cases, run.n_cases, &run.totals);
    run.totals.seconds = seconds_now() - started;
    failed = run.totals.failed;
    verify_print_failures(run.captures, run.cases, run.n_cases, &run.limits);
    verify_print_summary(options, &run.limits, &run.totals);
    if (request->json != NULL && !verify_write_json(request->json, options, run.captures, run.cases, run.n_cases,
                                                    &run.limits, &run.totals, reason, sizeof reason))
        give_up("--json %s: %s; choose another place", request->json, reason);
    close_captures(&run);
    return failed > 0 ? EXIT_BROKEN : EXIT_FINE;
}

enum {
    KEY_STEPS = 0x200,
    KEY_JSON,
    KEY_SINGLE_STAGE,
    KEY_PROGRESS,
    KEY_CLAIM_EPS,
    KEY_GENERATOR,
    KEY_LIST,
    KEY_SAVE,
    KEY_KEYS,
    KEY_HEAD_DIM,
    KEY_GROUP,
    KEY_KV_HEADS,
    KEY_SPREAD,
    KEY_DATA_SEED,
    KEY_CASES
};

static const struct argp_option options[] = {
    {"steps", KEY_STEPS, "I,J,...", 0, "decode steps of every capture (default: first, middle, last)", 0},
    {"json", KEY_JSON, "FILE", 0, "write the verdict and every case as JSON; - is stdout", 0},
    {"cases", KEY_CASES, NULL, 0, "a line for every case, with its slack and how its errors rank in what was claimed", 0},
    {"single-stage", KEY_SINGLE_STAGE, NULL, 0, "decide after the first stage, with its own limit", 0},
    {"claim-eps", KEY_CLAIM_EPS, "X", 0,
     "judge by X instead of eps: a planted cheat, to see that verify catches it (run with --eps 0.4 --claim-eps 0.05)",
     0},
    {"progress", KEY_PROGRESS, NULL, 0, "show progress even if stderr is not a terminal", 0},
    {"generator", KEY_GENERATOR, "NAME,...", 0,
     "captures made in memory to break estimators; 'all' leaves out those that the list marks", 2},
    {"list-generators", KEY_LIST, NULL, 0, "what there is", 2},
    {"save", KEY_SAVE, "DIR", 0, "write the made captures as DIR/NAME.safetensors and verify nothing", 2},
    {"keys", KEY_KEYS, "N", 0, "keys of a made capture (default: the generator's own, mostly 8192)", 2},
    {"head-dim", KEY_HEAD_DIM, "D", 0, "length of its rows (default mostly 64)", 2},
    {"group", KEY_GROUP, "N", 0, "query heads on a KV head (default 3)", 2},
    {"kv-heads", KEY_KV_HEADS, "N", 0, "KV heads (default 2)", 2},
    {"spread", KEY_SPREAD, "X", 0, "standard deviation of its scores, where they are normal (default mostly 2)", 2},
    {"data-seed", KEY_DATA_SEED, "N", 0, "another capture of the same kind (default 0)", 2},
    {0},
};

static void add_generator(struct verify_request * request, const struct generator * generator) {
    request->generators = realloc(request->generators, (size_t)(request->n_generators + 1) * sizeof(void *));
    if (request->generators == NULL)
        give_up("--generator: out of memory");
    request->generators[request->n_generators++] = generator;
}

static void add_generators(struct verify_request * request, const char * names) {
    char * copy = strdup(names);
    char * rest = copy;
    for (char * name; (name = strsep(&rest, ",")) != NULL;) {
        const struct generator * generator = generator_find(name);
        if (strcmp(name, "all") == 0) {
            for (int i = 0; i < generator_count; i++)
                if (generator_table[i].note == GENERATOR_USUAL)
                    add_generator(request, &generator_table[i]);
        } else if (generator == NULL)
            give_up("--generator: '%s' is unknown; --list-generators shows the names", name);
        else
            add_generator(request, generator);
    }
    free(copy);
}

static bool parse_size(struct generator_size * size, int key, const char * text) {
    switch (key) {
    case KEY_KEYS:
        size->keys = flag_whole("--keys", text, 2, INT32_MAX);
        return true;
    case KEY_HEAD_DIM:
        size->head_dim = (int32_t)flag_whole("--head-dim", text, 8, 576);
        return true;
    case KEY_GROUP:
        size->group = (int32_t)flag_whole("--group", text, 1, 4096);
        return true;
    case KEY_KV_HEADS:
        size->kv_heads = (int32_t)flag_whole("--kv-heads", text, 1, 4096);
        return true;
    case KEY_SPREAD:
        size->spread = flag_number("--spread", text, 1e-3, 100);
        return true;
    case KEY_DATA_SEED:
        size->seed = (uint64_t)flag_whole("--data-seed", text, 0, INT64_MAX);
        return true;
    default:
        return false;
    }
}

static error_t parse(int key, char * text, struct argp_state * state) {
    struct verify_request * request = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &request->flags;
        return 0;
    case KEY_STEPS:
        free(request->steps);
        request->n_steps = flag_list("--steps", text, 0, INT32_MAX, &request->steps);
        return 0;
    case KEY_JSON:
        request->json = text;
        return 0;
    case KEY_SINGLE_STAGE:
        request->single_stage = true;
        return 0;
    case KEY_CLAIM_EPS:
        request->claim_eps = flag_number("--claim-eps", text, 1e-9, 1e9);
        return 0;
    case KEY_CASES:
        request->each_case = true;
        return 0;
    case KEY_PROGRESS:
        request->progress = true;
        return 0;
    case ARGP_KEY_ARG:
        request->paths[request->n_paths++] = text;
        return 0;
    case KEY_GENERATOR:
        add_generators(request, text);
        return 0;
    case KEY_LIST:
        exit(list_generators());
    case KEY_SAVE:
        request->save = text;
        return 0;
    case ARGP_KEY_END:
        if (request->save != NULL && (request->n_generators == 0 || request->n_paths > 0))
            give_up("--save: writes what --generator makes, and nothing else; name generators and no captures");
        if (request->n_paths + request->n_generators == 0)
            give_up("CAPTURE is missing; try 'vattn verify layer09.safetensors' or --generator all");
        return 0;
    default:
        return parse_size(&request->size, key, text) ? 0 : ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] = "Test the promise on captures: for every case (capture, step, head) the share of draws whose "
                          "true error exceeds eps "
                          "must be compatible with delta."
                          "\vExamples:\n"
                          "  vattn verify layer*.safetensors\n"
                          "      eps = delta = 0.05, first, middle and last step, 2,000 draws a head\n"
                          "  vattn verify --scope layer --eps 0.1 --json verdict.json layer09.safetensors\n"
                          "      one case per step: all heads together\n"
                          "  vattn verify --generator all --eps 0.1\n"
                          "      inputs built to break estimators, made in memory\n"
                          "  vattn verify --generator one-line,cauchy --keys 30000 --head-dim 128 --group 7 \\\n"
                          "      --save DIR     the same as files\n"
                          "  vattn verify --method paper-d layer09.safetensors\n"
                          "      the paper's method controls the denominator; expect output misses\n"
                          "\n"
                          "The test: a case with at most L1 misses passes. Otherwise it gets ten times as many fresh "
                          "draws and fails above L2 "
                          "misses. L1 is the least number that a good case exceeds with probability at most 0.05, L2 "
                          "with probability at most "
                          "1e-6 / cases, both from exact binomial tails at delta. Draws are never pooled over heads. "
                          "An exact answer is never a "
                          "miss, so the rows read and the share of exact answers stand beside the verdict.\n"
                          "Exit code: 0, 1 if a case fails, 2 for bad usage or input.";

int verb_verify(int argc, char ** argv) {
    static const struct argp_child children[] = {{&attend_flags_argp, 0, "How to attend:", 1}, {0}};
    static const struct argp argp = {options, parse, "[CAPTURE...]", doc, children, NULL, NULL};
    struct verify_request request = {.paths = must_alloc((size_t)argc, sizeof(char *))};
    int code;
    attend_flags_init(&request.flags, 2000);
    parse_arguments(&argp, argc, argv, &request);
    code = request.save != NULL ? save_generators(&request) : verify(&request);
    free(request.paths);
    free(request.generators);
    free(request.steps);
    return code;
}
