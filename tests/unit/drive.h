/* SPDX-License-Identifier: MIT
 *
 * Drive a call: alone, or with a number of POSIX threads, tasks handed out in arbitrary order.
 */
#ifndef VATTN_TEST_DRIVE_H
#define VATTN_TEST_DRIVE_H

#include "unit/layer.h"

/* All tasks of all phases of a call that has begun, in order; it stays to be ended, and to be read. */
void drive_alone(struct vattn_call * call);

enum vattn_status drive(struct layer * l, const struct vattn_input * in, int threads);

/* The same through vattn_call_work. */
enum vattn_status drive_freely(struct layer * l, const struct vattn_input * in, int threads);

#endif
