#!/usr/bin/env python3
"""Coefficients of src/kernels/exp2_poly.h: interpolate (2^f - 1) / f at Chebyshev nodes of [-1/2, 1/2], round to
float, print the largest relative error of 1 + f * p(f).  Needs nothing but Python."""
import math, struct
f32 = lambda x: struct.unpack("f", struct.pack("f", x))[0]
N = 6
nodes = [0.5 * math.cos(math.pi * (i + 0.5) / N) for i in range(N)]
rows = [[x**k for k in range(N)] + [math.expm1(x * math.log(2)) / x] for x in nodes]
for i in range(N):  # Gauss-Jordan with pivoting
    p = max(range(i, N), key=lambda r: abs(rows[r][i]))
    rows[i], rows[p] = rows[p], rows[i]
    rows[i] = [v / rows[i][i] for v in rows[i]]
    for r in range(N):
        if r != i:
            rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i])]
c = [f32(r[N]) for r in rows]
worst = max(abs((1 + sum(c[k] * x ** (k + 1) for k in range(N))) / 2**x - 1)
            for x in (i / 20000 - 0.5 for i in range(20001)))
for k, v in enumerate(c):
    print(f"#define VATTN_EXP2_C{k + 1} {v:.9g}f")
print(f"worst relative error {worst:.2e}")
