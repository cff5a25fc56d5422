/* SPDX-License-Identifier: MIT
 *
 * What is read beside F, and with which weights.  Each rule ends with the output of the head.
 */
#ifndef VATTN_RULES_H
#define VATTN_RULES_H

#include "paper/head.h"

/* Softmax over F. */
void vattn_rule_none(struct vattn_head * h);

/* A simple random sample of b of the n_s rows behind F. */
void vattn_rule_uniform(struct vattn_head * h, int64_t b);

/*
 * The paper's algorithm: a pilot of the rows behind F says how many are needed (budget.h), and is part of the sample.
 *     D~ = sum_F e + n_s/b_0 sum_pilot e,  N~ likewise;  b clamped to [b_0, n_s], without replacement
 */
void vattn_rule_adaptive(struct vattn_head * h);

/*
 * What the code published with the paper does, for comparison:
 *     R = rows that are neither sink nor window, the selected ones included
 *     pilot of max(2, base R) draws with replacement from R: sd of e (repetitions count), and
 *     D~ = sum_F e + R/b_0 sum e over the distinct rows drawn: selected rows count twice where they were drawn
 *     b = floor((z n_R sd / (eps D~))^2), z one-sided, clamped to [b_0, R]; the pilot is thrown away
 *     b fresh draws with replacement; a row drawn at least once counts once, with probability b / R
 *     inclusion probabilities of F and sample are added and clamped to 1; weights are 1 / (probability + 1e-6)
 * Not reproduced: its rounding of probabilities and statistics to the model's type.
 */
void vattn_rule_hub(struct vattn_head * h);

/* MagicPIG: F = sinks, window and the colliding rows, each of these weighted 1 / (w + 1e-4) (select/magicpig.h). */
void vattn_rule_magicpig(struct vattn_head * h);

#endif
