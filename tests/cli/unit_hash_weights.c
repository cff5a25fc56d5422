/* SPDX-License-Identifier: MIT */
#include "hash_weights.h"
#include "safetensors_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { HEADS = 4, KV_HEADS = 2, DIM = 6, HIDDEN = 5, BITS = 3 };

static char path[] = "/tmp/hash-weights-XXXXXX";
static float numbers[HEADS * HIDDEN * DIM];

static void write_file(struct safetensor_out * tensors, int n) {
    char reason[256];
    for (int i = 0; i < n; i++)
        tensors[i].data = numbers;
    assert_true(safetensors_write(path, tensors, n, NULL, 0, reason, sizeof reason));
}

static void two_layers_are_found(void ** state) {
    struct safetensor_out tensors[] = {
        {"layers.7.k.0.weight", "F32", 3, {KV_HEADS, HIDDEN, DIM}, NULL},
        {"layers.7.k.0.bias", "F32", 2, {KV_HEADS, HIDDEN}, NULL},
        {"layers.7.k.1.weight", "F32", 3, {KV_HEADS, BITS, HIDDEN}, NULL},
        {"layers.7.q.0.weight", "F32", 3, {HEADS, HIDDEN, DIM}, NULL},
        {"layers.7.q.1.weight", "F32", 3, {HEADS, BITS, HIDDEN}, NULL},
        {"layers.7.q.1.bias", "F32", 2, {HEADS, BITS}, NULL},
    };
    struct hash_weights w;
    (void)state;
    write_file(tensors, 6);
    hash_weights_open(path, 7, HEADS, KV_HEADS, DIM, &w);
    assert_int_equal(w.weights.n_layers, 2);
    assert_int_equal(w.weights.width[0], DIM);
    assert_int_equal(w.weights.width[1], HIDDEN);
    assert_int_equal(w.weights.width[2], BITS);
    assert_non_null(w.weights.k_bias[0]);
    assert_null(w.weights.k_bias[1]);
    assert_null(w.weights.q_bias[0]);
    assert_true(w.weights.q_weight[0][HIDDEN * DIM + 2] == numbers[HIDDEN * DIM + 2]);
    hash_weights_close(&w);
}

/* Exit code of hash_weights_open in a process of its own. */
static int code_of(struct safetensor_out * tensors, int n, int layer) {
    int status = 0;
    write_file(tensors, n);
    const pid_t child = fork();
    if (child == 0) {
        struct hash_weights w;
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(9);
        hash_weights_open(path, layer, HEADS, KV_HEADS, DIM, &w);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static void what_does_not_fit_is_refused(void ** state) {
    struct safetensor_out good[] = {{"layers.0.k.0.weight", "F32", 3, {KV_HEADS, BITS, DIM}, NULL},
                                    {"layers.0.q.0.weight", "F32", 3, {HEADS, BITS, DIM}, NULL}};
    struct safetensor_out wide[] = {{"layers.0.k.0.weight", "F32", 3, {KV_HEADS, BITS, DIM}, NULL},
                                    {"layers.0.q.0.weight", "F32", 3, {HEADS, BITS, DIM - 1}, NULL}};
    struct safetensor_out uneven[] = {{"layers.0.k.0.weight", "F32", 3, {KV_HEADS, BITS, DIM}, NULL},
                                      {"layers.0.q.0.weight", "F32", 3, {HEADS, BITS + 1, DIM}, NULL}};
    struct safetensor_out half[] = {{"layers.0.k.0.weight", "F16", 3, {KV_HEADS, BITS, DIM}, NULL},
                                    {"layers.0.q.0.weight", "F32", 3, {HEADS, BITS, DIM}, NULL}};
    (void)state;
    assert_int_equal(code_of(good, 2, 0), 0);
    assert_int_equal(code_of(good, 2, 1), 2); /* another layer */
    assert_int_equal(code_of(good, 1, 0), 2); /* keys alone */
    assert_int_equal(code_of(wide, 2, 0), 2);
    assert_int_equal(code_of(uneven, 2, 0), 2);
    assert_int_equal(code_of(half, 2, 0), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_layers_are_found),
                                       cmocka_unit_test(what_does_not_fit_is_refused)};
    const int file = mkstemp(path);
    int failed;
    if (file < 0)
        return 1;
    close(file);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        numbers[i] = (float)i;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
