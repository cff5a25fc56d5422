#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A peer of `vattn bench` for tests, in plain Python: attention over f32 rows; or one that lies, ends, or babbles (first argument)."""
import math
import struct
import sys
import time

behaviour, flags = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))
heads, groups, dim, keys, layers = (int(flags[f]) for f in ("--heads", "--kv-heads", "--head-dim", "--keys", "--layers"))
scale = float(flags["--scale"])


def floats(file, n):
    return struct.unpack(f"{n}f", file.read(4 * n))


def attend(k, v, q):
    out = []
    for h in range(heads):
        g, mine = h // (heads // groups), q[h * dim : (h + 1) * dim]
        rows = [(j * groups + g) * dim for j in range(keys)]
        scores = [scale * sum(a * b for a, b in zip(mine, k[r : r + dim])) for r in rows]
        top = max(scores)
        weights = [math.exp(s - top) for s in scores]
        total = sum(weights)
        out += [sum(w * v[r + d] for w, r in zip(weights, rows)) / total for d in range(dim)]
    return out


if behaviour == "end":
    sys.exit(1)
with open(flags["--data"], "rb") as file:
    size = keys * groups * dim
    data = [(floats(file, size), floats(file, size), floats(file, heads * dim)) for _ in range(layers)]
print("what?" if behaviour == "babble" else "ready", flush=True)
for line in sys.stdin:
    *verb, layer, _ = line.split()
    started = time.perf_counter()
    answer = attend(*data[int(layer)])
    print(f"{time.perf_counter() - started:.9f}", flush=True)
    if verb:
        answer = [-x for x in answer] if behaviour == "lie" else answer
        sys.stdout.buffer.write(struct.pack(f"{len(answer)}f", *answer))
        sys.stdout.buffer.flush()
