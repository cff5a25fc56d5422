/* SPDX-License-Identifier: MIT
 *
 * Kernels that agree to the bit: the scan of the codes, both stages of the sampling.
 */
#include "check_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "kernels/ref/ref.h"

void check_scan(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 1000); trial++, check->n_checks++) {
        struct vattn_code_layout layout = {4 * case_draw_below(check, 6), 8 * case_draw_below(check, 7),
                                           16 * case_draw_below(check, 6)};
        if (trial % 10 == 0) { /* one class alone, up to the largest */
            const int32_t class = case_draw_below(check, 3);
            const int32_t many = case_draw(check) & 1 ? VATTN_MAX_DIM : 16 * case_draw_below(check, 37);
            layout = (struct vattn_code_layout){class == 0 ? many : 0, class == 1 ? many : 0, class == 2 ? many : 0};
        }
        const int32_t n_coords = vattn_layout_coords(layout);
        const int32_t n_blocks = case_draw_below(check, 12);
        const int32_t n_heads = PICK(check, case_head_counts);
        const ptrdiff_t ld = VATTN_BLOCK * n_blocks + case_draw_below(check, 20);
        const size_t n_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout) * (size_t)n_blocks;
        const size_t n_out = n_blocks == 0 ? 0 : (size_t)(ld * (n_heads - 1) + VATTN_BLOCK * n_blocks);
        struct guarded codes = guarded_new(n_bytes, trial & 1);
        struct guarded out = guarded_new(n_out * sizeof(float), trial & 1);
        struct guarded weights = guarded_new((size_t)(n_heads * n_coords), trial & 1);
        struct vattn_query_code * query = case_allocate((size_t)n_heads * sizeof *query);
        float * expected = case_allocate(n_out * sizeof(float));
        for (size_t i = 0; i < n_bytes; i++) { /* all ones: sums as large as they get */
            ((uint8_t *)codes.at)[i] = trial % 3 == 0 ? 255 : (uint8_t)case_draw(check);
        }
        for (int32_t g = 0; g < n_heads; g++) {
            int8_t * weight = (int8_t *)weights.at + g * n_coords;
            for (int32_t k = 0; k < n_coords; k++) {
                const int32_t extreme = trial % 6 == 0 || g % 2 ? 127 : -127;
                weight[k] = (int8_t)(trial % 3 == 0 ? extreme : case_draw_below(check, 255) - 127);
            }
            query[g] = (struct vattn_query_code){
                weight, case_draw_value(check, KIND_CAUCHY), case_draw_value(check, KIND_NORMAL),
                case_draw_value(check, KIND_CAUCHY), case_draw_value(check, KIND_NORMAL)};
        }
        if (n_out > 0) {
            case_fill(out.at, n_out, CASE_CANARY);
            case_fill(expected, n_out, CASE_CANARY);
        }
        vattn_ref_scan(codes.at, n_blocks, layout, query, n_heads, expected, ld);
        check->kernels->scan(codes.at, n_blocks, layout, query, n_heads, out.at, ld);
        for (size_t i = 0; i < n_out; i++) {
            const float got = ((const float *)out.at)[i];
            if (vattn_float_bits(got) != vattn_float_bits(expected[i])) {
                char text[120];
                snprintf(text, sizeof text, "n8 %d n4 %d n2 %d blocks %d heads %d, element %zu", layout.n8, layout.n4,
                         layout.n2, n_blocks, n_heads, i);
                case_fail(check, "scan", text, (double)got, (double)expected[i]);
                break;
            }
        }
        free(query);
        free(expected);
        guarded_free(codes);
        guarded_free(out);
        guarded_free(weights);
    }
}

void check_select(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 1500); trial++, check->n_checks++) {
        const int32_t n_blocks = trial % 10 == 0 ? 200 : case_draw_below(check, 20);
        const int32_t n = VATTN_BLOCK * n_blocks;
        const int32_t n_heads = PICK(check, case_head_counts);
        const ptrdiff_t ld = n + case_draw_below(check, 20);
        const size_t n_score = n_blocks == 0 ? 0 : (size_t)(ld * (n_heads - 1) + n);
        const int64_t first =
            16 * (int64_t)(trial % 4 == 0 ? INT32_MAX / 16 - n_blocks : case_draw_below(check, 1 << 20));
        struct guarded score = guarded_new(n_score * sizeof(float), trial & 1);
        struct guarded threshold = case_draw_floats(check, (size_t)n_heads, KIND_NORMAL, trial & 1);
        struct guarded visible = guarded_new((size_t)n_blocks * 2, trial & 1);
        struct guarded sure = guarded_new((size_t)n_blocks * 2, trial & 1);
        const float depth = trial % 5 == 0 ? 1.0f : trial % 5 == 1 ? 200.0f : 25.0f;
        for (size_t i = 0; i < n_score; i++) {
            float * at = (float *)score.at + i;
            const uint32_t chance = case_draw(check) % 100;
            *at = 4 - depth * case_draw_uniform(check);
            if (chance == 0 && trial % 3 == 0) {
                *at = -INFINITY;
            } else if (chance == 1 && trial % 3 == 0) {
                *at = NAN;
            } else if (chance == 2 && trial % 3 == 0) {
                *at = INFINITY;
            } else if (chance < 6) {
                *at = (float)-case_draw_below(check, 30); /* at and around the corners of L */
            }
        }
        if (trial % 6 == 0) { /* corners exactly */
            case_fill(threshold.at, (size_t)n_heads, 0);
        }
        struct guarded bonus = guarded_new((size_t)n, trial & 1);
        for (int32_t i = 0; i < n; i++) {
            ((int8_t *)bonus.at)[i] = (int8_t)(case_draw(check) % 256 - 128);
        }
        const int8_t * bonus_arg = trial % 5 == 1 ? NULL : bonus.at;
        for (int32_t b = 0; b < n_blocks; b++) {
            const uint32_t some = case_draw(check) & case_draw(check) & case_draw(check);
            ((uint16_t *)visible.at)[b] =
                (uint16_t)(case_draw(check) % 5 == 0 ? 0 : case_draw(check) | case_draw(check));
            ((uint16_t *)sure.at)[b] = (uint16_t)(case_draw(check) % 5 == 0 ? 0xffff : some);
        }
        const uint16_t * visible_arg = trial % 3 == 1 ? NULL : visible.at;
        const uint16_t * sure_arg = trial % 4 == 1 ? NULL : sure.at;
        const int32_t floor = trial % 2 ? 0 : trial % 4 ? 1 << 17 : VATTN_PROB_ONE;
        const struct vattn_random_key key = {
            {case_draw(check), case_draw(check)}, {case_draw(check), case_draw(check)}, case_draw(check)};

        int32_t * expected_rows = case_allocate((size_t)(n + 16) * sizeof(int32_t));
        int32_t * expected_prob = case_allocate((size_t)(n + 16) * sizeof(int32_t));
        int32_t * expected_draw = case_allocate((size_t)(n + 16) * sizeof(int32_t));
        const int32_t expected =
            vattn_ref_select(score.at, ld, threshold.at, n_heads, first, n_blocks, visible_arg, sure_arg, bonus_arg,
                             floor, &key, expected_rows, expected_prob, expected_draw);
        struct guarded rows = guarded_new((size_t)(expected + 16) * sizeof(int32_t), trial & 1);
        struct guarded prob = guarded_new((size_t)(expected + 16) * sizeof(int32_t), trial & 1);
        struct guarded drawn = guarded_new((size_t)(expected + 16) * sizeof(int32_t), trial & 1);
        const int32_t got = check->kernels->select(score.at, ld, threshold.at, n_heads, first, n_blocks, visible_arg,
                                                   sure_arg, bonus_arg, floor, &key, rows.at, prob.at, drawn.at);
        char text[120];
        snprintf(text, sizeof text, "trial %d blocks %d heads %d first %lld", trial, n_blocks, n_heads,
                 (long long)first);
        if (got != expected) {
            case_fail(check, "select (count)", text, got, expected);
        } else if (memcmp(rows.at, expected_rows, (size_t)got * sizeof(int32_t)) != 0) {
            case_fail(check, "select (rows)", text, 0, 0);
        } else if (memcmp(prob.at, expected_prob, (size_t)got * sizeof(int32_t)) != 0) {
            case_fail(check, "select (probabilities)", text, 0, 0);
        } else if (memcmp(drawn.at, expected_draw, (size_t)got * sizeof(int32_t)) != 0) {
            case_fail(check, "select (draws)", text, 0, 0);
        }
        free(expected_rows);
        free(expected_prob);
        free(expected_draw);
        guarded_free(score);
        guarded_free(threshold);
        guarded_free(visible);
        guarded_free(sure);
        guarded_free(bonus);
        guarded_free(drawn);
        guarded_free(rows);
        guarded_free(prob);
    }
}

void check_thin(struct check * check) {
    for (int32_t trial = 0; trial < case_trials(check, 1500); trial++, check->n_checks++) {
        const int32_t n = trial % 10 == 0 ? 1000 + trial : case_draw_below(check, 70);
        const int32_t n_heads = PICK(check, case_head_counts), shift = case_draw_below(check, 6);
        const ptrdiff_t ld = n + case_draw_below(check, 20);
        const size_t n_score = n == 0 ? 0 : (size_t)(ld * (n_heads - 1) + n), ints = (size_t)n * sizeof(int32_t);
        struct guarded score = guarded_new(n_score * sizeof(float), trial & 1);
        struct guarded threshold = case_draw_floats(check, (size_t)n_heads, KIND_NORMAL, trial & 1);
        struct guarded bonus = guarded_new((size_t)n, trial & 1);
        struct guarded prob = guarded_new(ints, trial & 1), drawn = guarded_new(ints, trial & 1);
        struct guarded keep = guarded_new(ints + 64, trial & 1);
        int32_t * expected_prob = case_allocate(ints + 64);
        int32_t * expected_keep = case_allocate(ints + 64);
        for (size_t i = 0; i < n_score; i++) {
            const uint32_t chance = case_draw(check) % 100;
            ((float *)score.at)[i] = chance == 0 ? NAN : chance == 1 ? -INFINITY : 3 - 20 * case_draw_uniform(check);
        }
        for (int32_t j = 0; j < n; j++) { /* as select leaves them: drawn below prob, or always read */
            const bool always = case_draw(check) % 8 == 0;
            const int32_t below_one = case_draw(check) % 4 == 0 ? 4 : VATTN_PROB_ONE - 1; /* small: draws of 0, too */
            const int32_t p =
                always || case_draw(check) % 8 == 0 ? VATTN_PROB_ONE : 1 + case_draw_below(check, below_one);
            ((int8_t *)bonus.at)[j] = (int8_t)(case_draw(check) % 256 - 128);
            ((int32_t *)prob.at)[j] = expected_prob[j] = p;
            ((int32_t *)drawn.at)[j] = always ? -1 : case_draw_below(check, p);
        }
        int32_t tail = -1, expected_tail = -1;
        const int32_t expected = vattn_ref_thin(score.at, ld, threshold.at, n_heads, n, bonus.at, shift, expected_prob,
                                                drawn.at, expected_keep, &expected_tail);
        const int32_t got = check->kernels->thin(score.at, ld, threshold.at, n_heads, n, bonus.at, shift, prob.at,
                                                 drawn.at, keep.at, &tail);
        char text[120];
        snprintf(text, sizeof text, "trial %d keys %d heads %d shift %d", trial, n, n_heads, shift);
        if (got != expected || tail != expected_tail) {
            case_fail(check, "thin (counts)", text, got, expected);
        } else if (memcmp(prob.at, expected_prob, ints) != 0) {
            case_fail(check, "thin (probabilities)", text, 0, 0);
        } else if (memcmp(keep.at, expected_keep, (size_t)got * sizeof(int32_t)) != 0) {
            case_fail(check, "thin (positions)", text, 0, 0);
        }
        free(expected_prob);
        free(expected_keep);
        guarded_free(score);
        guarded_free(threshold);
        guarded_free(bonus);
        guarded_free(prob);
        guarded_free(drawn);
        guarded_free(keep);
    }
}
