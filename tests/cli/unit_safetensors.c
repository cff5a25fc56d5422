/* SPDX-License-Identifier: MIT
 * Round trip, and a zoo of broken files: each must be refused with the right reason, none may be read out of bounds. */
#include "capture_file.h"
#include "safetensors_read.h"
#include "safetensors_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[64];

static int make_path(void ** state) {
    const int fd = mkstemp(strcpy(path, "/tmp/vattn-unit-XXXXXX"));
    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void ** state) {
    (void)state;
    return unlink(path);
}

static void write_bytes(const void * bytes, size_t n) {
    FILE * file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* A file with this header and `data_bytes` zeros. */
static void write_raw(const char * header, size_t data_bytes) {
    const size_t length = strlen(header);
    uint8_t * file = calloc(1, 8 + length + data_bytes);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(file + 8, header, length);
    write_bytes(file, 8 + length + data_bytes);
    free(file);
}

static void assert_refused(const char * part_of_reason) {
    struct safetensors file;
    char reason[256] = "";
    assert_false(safetensors_open(path, &file, reason, sizeof reason));
    if (strstr(reason, part_of_reason) == NULL)
        fail_msg("reason '%s' lacks '%s'", reason, part_of_reason);
}

static void what_is_written_is_read(void ** state) {
    const float x[6] = {1, 2, 3, -4, 5, 6};
    const int32_t n[2] = {7, 8};
    const uint8_t u[3] = {1, 2, 255};
    const struct safetensor_out out[] = {
        {"x", "F32", 2, {2, 3}, x}, {"n", "I32", 1, {2}, n}, {"u", "U8", 1, {3}, u}, {"none", "U8", 2, {0, 9}, u}};
    const struct safetensors_text texts[] = {{"scale", "0.125"}, {"odd \"text\"", "a\\b\n"}};
    struct safetensors file;
    char reason[256];
    (void)state;
    assert_true(safetensors_write(path, out, 4, texts, 2, reason, sizeof reason));
    assert_true(safetensors_open(path, &file, reason, sizeof reason));
    assert_int_equal(file.n_tensors, 4);
    assert_memory_equal(safetensors_find(&file, "x")->data, x, sizeof x);
    assert_int_equal(safetensors_find(&file, "x")->shape[1], 3);
    assert_memory_equal(safetensors_find(&file, "n")->data, n, sizeof n);
    assert_memory_equal(safetensors_find(&file, "u")->data, u, sizeof u);
    assert_int_equal(safetensors_find(&file, "none")->n_elements, 0);
    assert_string_equal(safetensors_metadata(&file, "scale"), "0.125");
    assert_string_equal(safetensors_metadata(&file, "odd \"text\""), "a\\b\n");
    assert_null(safetensors_find(&file, "y"));
    safetensors_close(&file);
}

static void unaligned_tensors_are_copied(void ** state) {
    struct safetensors file;
    char reason[256];
    (void)state;
    write_raw("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
              "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[1,9]}}",
              9);
    assert_true(safetensors_open(path, &file, reason, sizeof reason));
    assert_int_equal((uintptr_t)safetensors_find(&file, "b")->data % 4, 0);
    safetensors_close(&file);
}

#define TENSOR(dtype, shape, offsets) "{\"x\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void broken_files_are_refused(void ** state) {
    static const struct {
        const char * header;
        size_t data_bytes;
        const char * reason;
    } zoo[] = {
        {"", 0, "not JSON"},
        {"[1,2]", 0, "not JSON"},
        {"{\"x\":", 0, "not JSON"},
        {"{\"x\":3}", 0, "no dtype"},
        {TENSOR("7", "[1]", "[0,4]"), 4, "no dtype"},
        {TENSOR("\"F33\"", "[1]", "[0,4]"), 4, "unknown dtype"},
        {TENSOR("\"F32\"", "4", "[0,4]"), 4, "no shape"},
        {TENSOR("\"F32\"", "[-1]", "[0,4]"), 4, "not a whole number"},
        {TENSOR("\"F32\"", "[1.5]", "[0,4]"), 4, "not a whole number"},
        {TENSOR("\"F32\"", "[1e300]", "[0,4]"), 4, "not a whole number"},
        {TENSOR("\"F32\"", "[\"1\"]", "[0,4]"), 4, "not a whole number"},
        {TENSOR("\"F32\"", "[4294967296,4294967296]", "[0,4]"), 4, "overflows"},
        {TENSOR("\"F32\"", "[4503599627370496,1024]", "[0,4]"), 4, "overflows"},
        {TENSOR("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "dimensions"},
        {TENSOR("\"F32\"", "[1]", "4"), 4, "data_offsets"},
        {TENSOR("\"F32\"", "[1]", "[0]"), 4, "data_offsets"},
        {TENSOR("\"F32\"", "[1]", "[0,-4]"), 4, "data_offsets"},
        {TENSOR("\"F32\"", "[1]", "[4,0]"), 4, "data_offsets"},
        {TENSOR("\"F32\"", "[1]", "[0,4]"), 3, "truncated"},
        {TENSOR("\"F32\"", "[1]", "[0,9007199254740992]"), 4, "truncated"},
        {TENSOR("\"F32\"", "[2]", "[0,4]"), 4, "its shape and dtype need 8"},
        {TENSOR("\"F32\"", "[1]", "[4,8]"), 8, "belong to no tensor"},
        {TENSOR("\"F32\"", "[1]", "[0,4]"), 5, "follow the last tensor"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"x\":{\"dtype\":\"U8\",\"shape\":[2],"
         "\"data_offsets\":[2,4]}}",
         4, "appears twice"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"y\":{\"dtype\":\"U8\",\"shape\":[2],"
         "\"data_offsets\":[2,4]}}",
         4, "overlap"},
        {"{\"__metadata__\":3}", 0, "not an object"},
        {"{\"__metadata__\":{\"a\":3}}", 0, "not a text"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof zoo / sizeof *zoo; i++) {
        write_raw(zoo[i].header, zoo[i].data_bytes);
        assert_refused(zoo[i].reason);
    }
}

static void broken_lengths_are_refused(void ** state) {
    const uint8_t huge[8] = {255, 255, 255, 255, 255, 255, 255, 255}, longer[9] = {2, 0, 0, 0, 0, 0, 0, 0, '{'};
    (void)state;
    write_bytes("", 0);
    assert_refused("only 0 bytes");
    write_bytes(huge, 7);
    assert_refused("only 7 bytes");
    write_bytes(huge, 8);
    assert_refused("truncated");
    write_bytes(longer, 9);
    assert_refused("truncated");
    unlink(path);
    assert_refused("cannot be opened");
    make_path(NULL);
}

/* A capture that the reader likes, as bytes. */
static size_t good_capture(uint8_t * bytes, size_t room) {
    const float q[8] = {0}, k[12] = {0};
    const int32_t n[2] = {2, 3};
    const struct safetensor_out out[] = {{"q", "F32", 3, {2, 2, 2}, q},
                                         {"n", "I32", 1, {2}, n},
                                         {"k", "F32", 3, {2, 3, 2}, k},
                                         {"v", "F32", 3, {2, 3, 2}, k}};
    const struct safetensors_text texts[] = {{"scale", "0.5"}, {"layer", "7"}};
    char reason[256];
    size_t size;
    FILE * file;
    assert_true(safetensors_write(path, out, 4, texts, 2, reason, sizeof reason));
    file = fopen(path, "rb");
    size = fread(bytes, 1, room, file);
    fclose(file);
    return size;
}

static void every_truncation_is_refused(void ** state) {
    uint8_t bytes[2048];
    const size_t size = good_capture(bytes, sizeof bytes);
    struct capture capture;
    char reason[256];
    (void)state;
    assert_true(capture_open(path, &capture, reason, sizeof reason));
    assert_int_equal(capture.layer, 7);
    assert_int_equal(capture.n_keys, 3);
    capture_close(&capture);
    for (size_t n = 0; n < size; n++) {
        write_bytes(bytes, n);
        assert_false(capture_open(path, &capture, reason, sizeof reason));
    }
}

/* Any changed byte of the header: accepted or refused, but read within bounds (the sanitizers watch). */
static void changed_bytes_do_no_harm(void ** state) {
    uint8_t bytes[2048];
    const size_t size = good_capture(bytes, sizeof bytes);
    const uint8_t changes[] = {'9', '"', 255};
    struct capture capture;
    char reason[256];
    (void)state;
    for (size_t at = 0; at < size - 4; at++)
        for (size_t c = 0; c < sizeof changes; c++) {
            const uint8_t before = bytes[at];
            bytes[at] = changes[c];
            write_bytes(bytes, size);
            if (capture_open(path, &capture, reason, sizeof reason)) {
                double row[8];
                for (int32_t g = 0; g < capture.n_kv_heads && capture.head_dim <= 8; g++)
                    capture_k_row(&capture, g, capture.n_keys - 1, row);
                capture_close(&capture);
            }
            bytes[at] = before;
        }
}

static void captures_must_fit_together(void ** state) {
    static const struct {
        const char * n;     /* values of n */
        const char * scale; /* metadata */
        const char * reason;
    } zoo[] = {{"\1\0\0\0", "0.5", ""},       {"\2\0\0\0", "0.5", "sees 2 keys"}, {"\0\0\0\0", "0.5", "sees 0 keys"},
               {"\1\0\0\0", "zero", "scale"}, {"\1\0\0\0", "-1", "scale"},        {"\1\0\0\0", "nan", "scale"},
               {"\1\0\0\0", "inf", "scale"}};
    const float x[2] = {0};
    (void)state;
    for (size_t i = 0; i < sizeof zoo / sizeof *zoo; i++) {
        const struct safetensor_out out[] = {{"q", "F32", 3, {1, 1, 2}, x},
                                             {"n", "I32", 1, {1}, zoo[i].n},
                                             {"k", "F32", 3, {1, 1, 2}, x},
                                             {"v", "F32", 3, {1, 1, 2}, x}};
        struct safetensors_text text = {"scale", ""};
        struct capture capture;
        char reason[256] = "";
        bool ok;
        strcpy(text.text, zoo[i].scale);
        assert_true(safetensors_write(path, out, 4, &text, 1, reason, sizeof reason));
        ok = capture_open(path, &capture, reason, sizeof reason);
        assert_int_equal(ok, zoo[i].reason[0] == 0);
        if (ok)
            capture_close(&capture);
        else
            assert_non_null(strstr(reason, zoo[i].reason));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),     cmocka_unit_test(unaligned_tensors_are_copied),
        cmocka_unit_test(broken_files_are_refused),    cmocka_unit_test(broken_lengths_are_refused),
        cmocka_unit_test(every_truncation_is_refused), cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(captures_must_fit_together),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
