/* SPDX-License-Identifier: MIT
 * The upper tail of Fisher's F, computed apart from the library: the judge shares no code with what it judges. */
#ifndef VATTN_TOOLS_F_TAIL_H
#define VATTN_TOOLS_F_TAIL_H

/* P(F > f) for F with d1 and d2 degrees of freedom (real numbers > 0; d2 may be infinite). */
double f_tail(double f, double d1, double d2);

#endif
