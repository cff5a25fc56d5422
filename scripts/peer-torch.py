#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PyTorch's scaled_dot_product_attention as a peer of `vattn bench` (tools/peer.h has the protocol).

  vattn bench --peer "torch=python3 scripts/peer-torch.py" --peer "torch-gqa=python3 scripts/peer-torch.py gqa"

  grouped    the heads of a group are the rows of one query, [1, KV heads, group, head_dim]: the same numbers for one token, and the
             quickest form on CPUs (the default)
  gqa        enable_gqa, as models call it

Reads the layers from FILE, says "ready", and then answers every line of standard input until that ends:

  LAYER THREADS        one decode step; the seconds it took
  out LAYER THREADS    likewise, and behind that line the answer, heads * head_dim float32 values in binary

Keys and values lie as in a PyTorch cache, contiguous [1, KV heads, keys, head_dim]. The clock runs around the attention alone.
Exit 2: a line that is no request, or a file that ends early. Exit 3: no PyTorch here, or no such type in it.
"""
import argparse
import re
import sys
import time

REQUEST = re.compile(r"(out )?(\d+) ([1-9]\d*)\n?", re.ASCII)
BAD_INPUT, UNSUPPORTED = 2, 3


def give_up(status, message):
    print(f"peer-torch: {message}", file=sys.stderr)
    sys.exit(status)


try:
    import numpy as np
    import torch
except ImportError as error:
    give_up(UNSUPPORTED, f"no PyTorch here ({error}); pip install torch numpy")

# numpy has no bf16: its bits travel as integers.
TYPES = {"f32": (torch.float32, "<f4"), "f16": (torch.float16, "<f2"), "bf16": (torch.bfloat16, "<i2")}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", nargs="?", choices=("grouped", "gqa"), default="grouped")
    for name, what in (("heads", "query heads"), ("kv-heads", "KV heads, a divisor of --heads"), ("head-dim", "length of a row"),
                       ("keys", "rows of the cache"), ("layers", "layers in FILE")):
        parser.add_argument(f"--{name}", type=int, required=True, help=what)
    parser.add_argument("--type", required=True, help="f32, f16 or bf16")
    parser.add_argument("--scale", type=float, required=True, help="factor of <q, k>")
    parser.add_argument("--data", required=True, metavar="FILE", help="for each layer K and V [keys][kv-heads][head-dim] of the type, "
                        "then q [heads][head-dim] of float32")
    args = parser.parse_args()
    if args.type not in TYPES:
        give_up(UNSUPPORTED, f"PyTorch has no rows of {args.type}; pip install torch serves f32, f16 and bf16 alone")
    return args


def load(args, file):
    """Query, keys and values of the next layer."""
    kind, stored = TYPES[args.type]

    def values_of(stored, count):
        flat = np.fromfile(file, stored, count)
        if flat.size != count:
            give_up(BAD_INPUT, f"{args.data} ends early; do --layers, --keys and --type fit it?")
        return torch.from_numpy(flat)

    def cache():
        rows = values_of(stored, args.keys * args.kv_heads * args.head_dim).view(kind)
        return rows.reshape(1, args.keys, args.kv_heads, args.head_dim).transpose(1, 2).contiguous()

    keys, values = cache(), cache()
    query = values_of("<f4", args.heads * args.head_dim).reshape(1, args.heads, 1, args.head_dim).to(kind)
    return query, keys, values


def attend(args, query, keys, values):
    """Seconds and answer of one step."""
    more = {}
    if args.form == "grouped":
        query = query.view(1, args.kv_heads, args.heads // args.kv_heads, args.head_dim)
    elif args.heads != args.kv_heads:
        more = {"enable_gqa": True}  # from PyTorch 2.5 on
    started = time.perf_counter()
    answer = torch.nn.functional.scaled_dot_product_attention(query, keys, values, scale=args.scale, **more)
    return time.perf_counter() - started, answer


def serve(args, layers):
    threads = None
    for line in sys.stdin:
        request = REQUEST.fullmatch(line)
        if request is None or int(request[2]) >= len(layers):
            give_up(BAD_INPUT, f"'{line.strip()}' is no request; want [out ]LAYER THREADS with LAYER below {len(layers)}")
        if request[3] != threads:
            threads = request[3]
            torch.set_num_threads(int(threads))
        seconds, answer = attend(args, *layers[int(request[2])])
        print(f"{seconds:.9f}", flush=True)
        if request[1]:
            sys.stdout.buffer.write(answer.to(torch.float32).numpy().astype("<f4").tobytes())
            sys.stdout.buffer.flush()


def main():
    args = arguments()
    with torch.inference_mode(), open(args.data, "rb") as file:
        layers = [load(args, file) for _ in range(args.layers)]
        print("ready", flush=True)
        serve(args, layers)


if __name__ == "__main__":
    main()
