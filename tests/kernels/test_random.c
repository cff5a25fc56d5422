/* SPDX-License-Identifier: MIT
 *
 * The generator against the published known answers and against Random123's own code; the half conversions.
 *
 * The three known-answer vectors below are the philox4x32 10 lines of Random123's tests/kat_vectors:
 *   Copyright 2010-2012, D. E. Shaw Research.  All rights reserved.
 *   Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
 *   following conditions are met: redistributions of source code must retain the above copyright notice, this list of
 *   conditions, and the following disclaimer; redistributions in binary form must reproduce them in the documentation;
 *   neither the name of D. E. Shaw Research nor the names of its contributors may be used to endorse or promote
 *   products derived from this software without specific prior written permission.
 *   THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES
 *   ARE DISCLAIMED (3-clause BSD).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wconversion"
#include <Random123/philox.h>
#pragma GCC diagnostic pop

#include "base/half.h"
#include "base/random.h"

struct known_answer {
    uint32_t counter[4], key[2], word[4];
};

static const struct known_answer known[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void philox_gives_the_known_answers(void ** state) {
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t word[4];
        vattn_philox4x32(known[i].counter, known[i].key, word);
        assert_memory_equal(word, known[i].word, sizeof word);
    }
}

static void philox_agrees_with_random123(void ** state) {
    (void)state;
    uint32_t x = 1;
    for (int32_t trial = 0; trial < 10000; trial++) {
        uint32_t input[6], word[4];
        for (int32_t i = 0; i < 6; i++) {
            x = x * 1664525u + 1013904223u;
            input[i] = x ^ (x >> 16);
        }
        vattn_philox4x32(input, input + 4, word);
        const philox4x32_ctr_t counter = {{input[0], input[1], input[2], input[3]}};
        const philox4x32_key_t key = {{input[4], input[5]}};
        const philox4x32_ctr_t expected = philox4x32_R(10, counter, key);
        assert_memory_equal(word, expected.v, sizeof word);
    }
}

static void streams_do_not_collide(void ** state) {
    (void)state;
    assert_int_equal(vattn_random_stream(VATTN_RANDOM_SAMPLE, 0, 0), 0);
    assert_int_equal(vattn_random_stream(VATTN_RANDOM_UNIFORM, 0, 0), 0x20000000);
    assert_int_equal(vattn_random_stream(VATTN_RANDOM_SAMPLE, 1, 0), 0x4000);
    assert_int_equal(vattn_random_stream(VATTN_RANDOM_SAMPLE, 16383, 16383), 0x0fffffff);
    assert_true(vattn_random_uniform(0) > 0 && vattn_random_uniform(UINT32_MAX) < 1);
}

static void every_half_survives_the_round_trip(void ** state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float x = vattn_half_to_float((uint16_t)h);
        const uint32_t magnitude = h & 0x7fff;
        if (magnitude > 0x7c00) {
            assert_true(isnan(x));
            assert_int_equal(vattn_half_from_float(x), h | 0x200); /* NaN becomes quiet */
            continue;
        }
        const double expected = magnitude == 0x7c00 ? (double)INFINITY
                                : magnitude < 0x400 ? ldexp(magnitude, -24)
                                                    : ldexp(1024 + (magnitude & 1023), (int)(magnitude >> 10) - 25);
        assert_true((double)fabsf(x) == expected);
        assert_int_equal(signbit(x) != 0, h >> 15);
        assert_int_equal(vattn_half_from_float(x), h);
    }
}

/* Between two neighbours the nearer one, at the middle the even one. */
static void halves_round_to_nearest_even(void ** state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        const float low = vattn_half_to_float((uint16_t)h);
        const float high = h + 1 == 0x7c00 ? 65536.0f : vattn_half_to_float((uint16_t)(h + 1));
        const float middle = (low + high) / 2;
        const uint32_t even = h & 1 ? h + 1 : h;
        assert_int_equal(vattn_half_from_float(middle), even);
        assert_int_equal(vattn_half_from_float(nextafterf(middle, 0)), h);
        assert_int_equal(vattn_half_from_float(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(vattn_half_from_float(-middle), even | 0x8000);
    }
    assert_int_equal(vattn_half_from_float(1e30f), 0x7c00);
    assert_int_equal(vattn_half_from_float(1e-30f), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers), cmocka_unit_test(philox_agrees_with_random123),
        cmocka_unit_test(streams_do_not_collide),         cmocka_unit_test(every_half_survives_the_round_trip),
        cmocka_unit_test(halves_round_to_nearest_even),
    };
    return cmocka_run_group_tests_name("random and half", tests, NULL, NULL);
}
