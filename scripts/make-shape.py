#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write a model with the shape of a big one, few layers and random weights, to time decoding at its real widths.

    scripts/make-shape.py [--shape llama-8b-2l|tiny] [--models FOLDER] [--texts FOLDER]

Prints the path of the GGUF and that of a text of random tokens. Both lie in .cache (or VATTN_CACHE) and depend on the constants below
alone; what is there, whole and made from the same constants is not made again.

What such a model says means nothing, only its times do. But the time of a sparse step depends on how many rows it must read, and weights
without any structure give a bad case: every key matters equally, and the mean of many random values is next to nothing, so an
error relative to it is tiny too. The weights are therefore random with the statistics of the synthetic layers of `vattn bench`:

    scores   standard deviation SPREAD nats over the keys of a query, mean over queries (q isotropic with variance 1)
    keys     standard deviation of a head's coordinates falls as (1 + j)^-DECAY, in random order of the pairs that RoPE turns
    values   half of their energy is common to all rows: a few columns of the residual stream hold the same numbers for every token, and
             only the values look at them
"""
import argparse
import os
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CACHE = Path(os.environ.get("VATTN_CACHE") or Path(__file__).resolve().parent.parent / ".cache")
SEED = 20251125
SPREAD = 2.5
DECAY = 0.75
RESIDUAL = 0.1  # gain of what a layer adds to the stream, small so that all layers see what the first one sees
CONTEXT = 1 << 18  # room for a prompt of 131,072 tokens and the tokens after it
N_VOCAB = 512
N_BYTES = 256
TEXT_TOKENS = 1 << 16
RECIPE = f"version 1, seed {SEED}, spread {SPREAD}, decay {DECAY}, residual {RESIDUAL}, {N_VOCAB} tokens, context {CONTEXT}"

# ---------------------------------------------------------------------------------------------------------------- GGUF
# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; written here because the file needs a tenth of what the gguf package does.
ALIGNMENT = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # types of metadata values
TENSOR_F32, TENSOR_F16, TENSOR_Q4_0 = 0, 1, 2
BLOCK = 32  # weights of a Q4_0 block: an f16 scale d and 16 bytes; a weight is d (q - 8) with q in 0..15
BLOCK_BYTES = 18
NIBBLE_SD = ((16**2 - 1) / 12) ** 0.5
SCALARS = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}


def text_field(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def value_field(kind, value):
    return text_field(value) if kind == STRING else struct.pack(SCALARS[kind], value)


def entry(key, kind, value):
    """Key, type and value; a list is an array of the kind."""
    if isinstance(value, list):
        body = struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(value_field(kind, item) for item in value)
    else:
        body = struct.pack("<I", kind) + value_field(kind, value)
    return text_field(key) + body


def padding(size):
    return -size % ALIGNMENT


@dataclass
class Tensor:
    name: str
    shape: tuple  # (rows, columns) or (columns,)
    kind: int
    fill: object  # rng -> bytes

    def size(self):
        n = int(np.prod(self.shape))
        return {TENSOR_F32: n * 4, TENSOR_F16: n * 2, TENSOR_Q4_0: n // BLOCK * BLOCK_BYTES}[self.kind]


def header(metadata, tensors):
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata)), *(entry(*item) for item in metadata)]
    offset = 0
    for tensor in tensors:
        sizes = tensor.shape[::-1]  # fastest first
        parts.append(text_field(tensor.name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, tensor.kind, offset))
        offset += tensor.size() + padding(tensor.size())
    data = b"".join(parts)
    return data + bytes(padding(len(data)))


def file_size(metadata, tensors):
    return len(header(metadata, tensors)) + sum(t.size() + padding(t.size()) for t in tensors)


# ------------------------------------------------------------------------------------------------------------- weights
@dataclass
class Shape:
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int

    def common(self):
        """Columns of the residual stream that are the same for every token, whole blocks of them."""
        return max(BLOCK, self.width // BLOCK // BLOCK * BLOCK)


SHAPES = {
    "llama-8b-2l": Shape(4096, 2, 32, 8, 128, 14336),
    "tiny": Shape(256, 2, 8, 2, 64, 512),
}


def ones(n):
    return lambda rng: np.ones(n, dtype="<f4").tobytes()


def embedding(shape):
    """Normal numbers, but the common columns: signs times an amplitude that gives them half of the energy."""
    def fill(rng):
        n = shape.common()
        table = rng.standard_normal((N_VOCAB, shape.width))
        table[:, :n] = rng.choice([-1.0, 1.0], n) * ((shape.width - n) / n) ** 0.5
        return table.astype("<f2").tobytes()
    return fill


def q4_0(row_sd, columns, blind=0):
    """Random bytes in blocks; row_sd[i] is the standard deviation of the weights of row i, the first `blind` columns are 0."""
    def fill(rng):
        blocks = np.empty((len(row_sd), columns // BLOCK, BLOCK_BYTES), dtype=np.uint8)
        blocks[:, :, 2:] = np.frombuffer(rng.bytes(blocks[:, :, 2:].size), dtype=np.uint8).reshape(blocks[:, :, 2:].shape)
        scales = np.repeat((row_sd / NIBBLE_SD)[:, None], columns // BLOCK, axis=1)
        scales[:, : blind // BLOCK] = 0
        blocks[:, :, :2] = scales.astype("<f2").view(np.uint8).reshape(*scales.shape, 2)
        return blocks.tobytes()
    return fill


def key_sd(shape, rng):
    """Of the coordinates of all KV heads, so that Var(<q, k> / sqrt(head_dim)) = SPREAD^2 where q has variance 1."""
    pairs = (1.0 + 2.0 * np.arange(shape.head_dim // 2)) ** -DECAY
    sd = np.concatenate([np.repeat(rng.permutation(pairs), 2) for _ in range(shape.kv_heads)])
    return sd * SPREAD * (shape.head_dim * shape.kv_heads / np.sum(sd**2)) ** 0.5


def layer_tensors(shape, i, rng):
    """A normalised row x has variance 1/2 in a token's own columns: a weight of deviation sqrt(2 / width) makes them variance 1."""
    width, q_rows, kv_rows = shape.width, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    unit = (2.0 / width) ** 0.5

    def matrix(name, sd, columns, blind=0):
        return Tensor(f"blk.{i}.{name}.weight", (len(sd), columns), TENSOR_Q4_0, q4_0(sd, columns, blind))

    return [
        Tensor(f"blk.{i}.attn_norm.weight", (width,), TENSOR_F32, ones(width)),
        matrix("attn_q", np.full(q_rows, unit), width, shape.common()),
        matrix("attn_k", unit * key_sd(shape, rng), width, shape.common()),
        matrix("attn_v", np.full(kv_rows, unit), width),
        matrix("attn_output", np.full(width, RESIDUAL * q_rows**-0.5), q_rows),
        Tensor(f"blk.{i}.ffn_norm.weight", (width,), TENSOR_F32, ones(width)),
        matrix("ffn_gate", np.full(shape.feed_forward, unit), width, shape.common()),
        matrix("ffn_up", np.full(shape.feed_forward, unit), width, shape.common()),
        matrix("ffn_down", np.full(width, RESIDUAL * shape.feed_forward**-0.5), shape.feed_forward),
    ]


def all_tensors(shape):
    rng = np.random.default_rng([SEED, 1])
    return [
        Tensor("token_embd.weight", (N_VOCAB, shape.width), TENSOR_F16, embedding(shape)),
        Tensor("output_norm.weight", (shape.width,), TENSOR_F32, ones(shape.width)),
        Tensor("output.weight", (N_VOCAB, shape.width), TENSOR_Q4_0, q4_0(np.full(N_VOCAB, shape.width**-0.5), shape.width)),
        *(tensor for i in range(shape.layers) for tensor in layer_tensors(shape, i, rng)),
    ]


# ---------------------------------------------------------------------------------------------------------- vocabulary
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def words():
    """One character each, so that any text of them has one token a character."""
    return [chr(0x4E00 + i) for i in range(N_VOCAB - N_BYTES - 3)]


def vocabulary():
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(N_BYTES)] + words()
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * N_BYTES + [NORMAL] * len(words())
    return tokens, [-float(i) for i in range(N_VOCAB)], kinds


def all_metadata(shape):
    tokens, scores, kinds = vocabulary()
    return [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "random weights"),
        ("general.description", STRING, RECIPE),
        ("general.file_type", U32, 2),
        ("general.quantization_version", U32, 2),
        ("llama.context_length", U32, CONTEXT),
        ("llama.embedding_length", U32, shape.width),
        ("llama.block_count", U32, shape.layers),
        ("llama.feed_forward_length", U32, shape.feed_forward),
        ("llama.attention.head_count", U32, shape.heads),
        ("llama.attention.head_count_kv", U32, shape.kv_heads),
        ("llama.attention.key_length", U32, shape.head_dim),
        ("llama.attention.value_length", U32, shape.head_dim),
        ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        ("llama.rope.dimension_count", U32, shape.head_dim),
        ("llama.rope.freq_base", F32, 5e5),
        ("llama.vocab_size", U32, N_VOCAB),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.pre", STRING, "default"),
        ("tokenizer.ggml.tokens", STRING, tokens),
        ("tokenizer.ggml.scores", F32, scores),
        ("tokenizer.ggml.token_type", I32, kinds),
        ("tokenizer.ggml.bos_token_id", U32, 1),
        ("tokenizer.ggml.eos_token_id", U32, 2),
        ("tokenizer.ggml.unknown_token_id", U32, 0),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.add_space_prefix", BOOL, False),
    ]


# --------------------------------------------------------------------------------------------------------------- files
def say(message):
    print(f"make-shape: {message}", file=sys.stderr, flush=True)


def is_current(path, metadata, tensors):
    """Its size is right and it begins with the header that would be written, which names the recipe."""
    expected = header(metadata, tensors)
    if not path.exists() or path.stat().st_size != file_size(metadata, tensors):
        return False
    with open(path, "rb") as file:
        return file.read(len(expected)) == expected


def write_model(path, shape):
    metadata, tensors = all_metadata(shape), all_tensors(shape)
    if is_current(path, metadata, tensors):
        return say(f"{path}: already there")
    started, reported, total = time.monotonic(), 0.0, file_size(metadata, tensors)
    say(f"{path.name}: {total / 1e6:.0f} MB of random weights")
    partial = path.with_name(path.name + f".{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(partial, "wb") as file:
        file.write(header(metadata, tensors))
        for i, tensor in enumerate(tensors):
            data = tensor.fill(np.random.default_rng([SEED, 2, i]))
            file.write(data + bytes(padding(len(data))))
            if time.monotonic() - reported > 4:
                reported = time.monotonic()
                say(f"  {file.tell() / 1e6:5.0f} MB, {reported - started:.0f} s")
    if not is_current(partial, metadata, tensors):
        sys.exit(f"make-shape: {partial} came out wrong (disk full?); expected {total} bytes")
    partial.replace(path)
    say(f"{path}: ready in {time.monotonic() - started:.0f} s")


def write_text(path):
    rng = np.random.default_rng([SEED, 3])
    text = "".join(words()[i] for i in rng.integers(0, len(words()), TEXT_TOKENS))
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="llama-8b-2l")
    parser.add_argument("--models", type=Path, default=CACHE / "models", metavar="FOLDER")
    parser.add_argument("--texts", type=Path, default=CACHE / "texts", metavar="FOLDER")
    args = parser.parse_args()
    name = {"llama-8b-2l": "llama-8b-shape-2l", "tiny": "tiny-shape-2l"}[args.shape]
    model, text = args.models / f"{name}.gguf", args.texts / "random-tokens.txt"
    write_model(model, SHAPES[args.shape])
    write_text(text)
    print(model, text, sep="\n")


if __name__ == "__main__":
    main()
