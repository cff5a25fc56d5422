#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PyTorch's scaled_dot_product_attention as a peer of `vattn bench` (tools/peer.h has the protocol).

  vattn bench --peer "torch=python3 scripts/peer-torch.py"

Keys and values lie as in a PyTorch cache, contiguous [1, KV heads, keys, head_dim]. The clock runs around the attention alone.
"""
import argparse
import sys
import time

UNSUPPORTED = 3

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"peer-torch: {error}; pip install torch numpy", file=sys.stderr)
    sys.exit(UNSUPPORTED)

TYPES = {"f32": (torch.float32, np.float32), "f16": (torch.float16, np.float16), "bf16": (torch.bfloat16, np.int16)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("heads", "kv-heads", "head-dim", "keys", "layers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--type", required=True)
    parser.add_argument("--scale", type=float, required=True)
    parser.add_argument("--data", required=True)
    args = parser.parse_args()
    if args.type not in TYPES:
        print(f"peer-torch: PyTorch has no rows of {args.type}; use f32, f16 or bf16", file=sys.stderr)
        sys.exit(UNSUPPORTED)
    return args


def load(args, file):
    """Query, keys and values of the next layer."""
    kind, stored = TYPES[args.type]

    def rows():
        raw = np.fromfile(file, stored, args.keys * args.kv_heads * args.head_dim)
        return torch.from_numpy(raw).view(kind).reshape(1, args.keys, args.kv_heads, args.head_dim).transpose(1, 2).contiguous()

    keys, values = rows(), rows()
    query = torch.from_numpy(np.fromfile(file, np.float32, args.heads * args.head_dim))
    return query.reshape(1, args.heads, 1, args.head_dim).to(kind), keys, values


def serve(args, layers):
    threads = None
    for line in sys.stdin:
        *verb, layer, wanted = line.split()
        if verb not in ([], ["out"]):
            sys.exit(f"peer-torch: '{line.strip()}' is no request")
        if wanted != threads:
            torch.set_num_threads(int(wanted))
            threads = wanted
        query, keys, values = layers[int(layer)]
        started = time.perf_counter()
        answer = torch.nn.functional.scaled_dot_product_attention(query, keys, values, scale=args.scale, enable_gqa=args.heads != args.kv_heads)
        print(f"{time.perf_counter() - started:.9f}", flush=True)
        if verb:
            sys.stdout.buffer.write(answer.to(torch.float32).numpy().tobytes())
            sys.stdout.buffer.flush()


def main():
    args = arguments()
    with torch.inference_mode(), open(args.data, "rb") as file:
        layers = [load(args, file) for _ in range(args.layers)]
        print("ready", flush=True)
        serve(args, layers)


if __name__ == "__main__":
    main()
