/* SPDX-License-Identifier: MIT
 *
 * A product that must be rounded before it is added to something.  Where the target has a fused multiply-add, compilers
 * may use it unless -ffp-contract=off tells them not to; kernels whose bits are promised do not depend on that flag.
 */
#ifndef VATTN_ROUNDED_H
#define VATTN_ROUNDED_H

#if defined(VATTN_SCALAR_INTRINSICS) /* tests/emulated: vectors are structures */
#define VATTN_ROUNDED(x) ((void)0)
#elif defined(__x86_64__)
#define VATTN_ROUNDED(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define VATTN_ROUNDED(x) __asm__("" : "+w"(x))
#else
#define VATTN_ROUNDED(x) __asm__("" : "+m"(x))
#endif

/* The same for an array; its values pass through memory, so that loops around it may use vectors. */
#define VATTN_ROUNDED_ARRAY(x) __asm__("" : "+m"(x))

#endif
