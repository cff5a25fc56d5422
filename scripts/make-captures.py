#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Record real queries and keys for the table of methods: two models, three kinds of text and planted facts.

    scripts/make-captures.py [NAME...]        default: all; prints the paths of the captures, one a line

Fetches the models and the host (scripts/fetch-assets.py), builds the host (scripts/build-host.sh) and lets an unmodified
llama-completion read each text under `vattn capture`. The files lie in .cache/captures (or VATTN_CACHE); what is there and was
made from the same text, model, layers and steps is not made again. A prompt takes about a minute on two cores.
"""
import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("VATTN_CACHE") or ROOT / ".cache")
HOST = CACHE / "host"
FOLDER = CACHE / "captures"
STEPS = 9  # recorded; the first, the middle and the last are measured

MODELS = {  # name: (target of fetch-assets, file, context, layers that are kept)
    "smollm2-135m": ("smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", 8192, [0, 10, 20]),
    "qwen2.5-coder-0.5b": ("qwen", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", 9216, [3, 11, 19]),
}


def prose(size):
    return (CACHE / "texts" / "emma.txt").read_text(encoding="utf-8")[:size]


def code(size):
    return (HOST / "llama.cpp" / "src" / "llama-kv-cache.cpp").read_text(encoding="utf-8")[:size]


def manual(size):
    """Markdown, most of it tables of options."""
    return (HOST / "llama.cpp" / "tools" / "server" / "README.md").read_text(encoding="utf-8")[:size]


def facts(size):
    """A novel in which eight numbers are planted; the end asks for some of them."""
    text = (CACHE / "texts" / "persuasion.txt").read_text(encoding="utf-8")[:size]
    names = ["Anna", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Henry"]
    numbers = {name: 10007 + 7919 * i % 90000 for i, name in enumerate(names)}
    for i, name in reversed(list(enumerate(names))):
        paragraph = text.find("\n\n", (2 * i + 1) * size // 17)
        text = text[:paragraph] + f"\n\nRemember this: the key number of {name} is {numbers[name]}." + text[paragraph:]
    answers = [f"The key number of {name} is {numbers[name]}." for name in ("Felix", "Boris")]
    return text + "\n\nThe key numbers again.\n" + "\n".join(answers) + "\nThe key number of Elena is"


JOBS = {  # name: (model, kind of text, text, characters)
    "smollm2-135m-prose": ("smollm2-135m", "prose", prose, 29000),
    "smollm2-135m-code": ("smollm2-135m", "code", code, 18000),
    "smollm2-135m-manual": ("smollm2-135m", "manual", manual, 16000),
    "qwen2.5-coder-0.5b-code": ("qwen2.5-coder-0.5b", "code", code, 27000),
    "qwen2.5-coder-0.5b-facts": ("qwen2.5-coder-0.5b", "planted facts", facts, 34000),
}


def say(message):
    print(f"make-captures: {message}", file=sys.stderr, flush=True)


def fail(message):
    say(message)
    sys.exit(2)


def paths_of(name):
    return [FOLDER / f"{name}-layer{layer:02d}.safetensors" for layer in MODELS[JOBS[name][0]][3]]


def recipe_of(name, text):
    model = MODELS[JOBS[name][0]]
    return f"{hashlib.sha256(text.encode()).hexdigest()} {model[1]} {model[2]} {model[3]} {STEPS}\n"


def capture(name, args):
    """One prompt, then STEPS decode steps; true if something was made."""
    model_name, kind, text_of, size = JOBS[name]
    _, model, context, layers = MODELS[model_name]
    text = text_of(size)
    stamp = FOLDER / f"{name}.recipe"
    if stamp.exists() and stamp.read_text() == recipe_of(name, text) and all(path.exists() for path in paths_of(name)):
        return False
    started = time.monotonic()
    say(f"{name}: {len(text):,} characters of {kind}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=FOLDER) as folder:
        prompt = Path(folder) / f"{kind.replace(' ', '-')}.txt"
        prompt.write_text(text, encoding="utf-8")
        command = [args.vattn, "capture", "-o", f"{folder}/c", "--steps", str(STEPS), "--", HOST / "build/bin/llama-completion",
                   "-m", CACHE / "models" / model, "-f", prompt, "-c", str(context), "-n", str(STEPS + 2), "-t", str(args.threads),
                   "--temp", "0", "-no-cnv", "--no-warmup", "-fa", "on", "--ignore-eos"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            fail(f"{name}: llama-completion gave {done.returncode}:\n" + done.stdout.decode(errors="replace")[-3000:])
        for layer, path in zip(layers, paths_of(name)):
            made = Path(folder) / "c" / f"layer{layer:02d}.safetensors"
            if not made.exists():
                fail(f"{name}: no capture of layer {layer}:\n" + done.stdout.decode(errors="replace")[-3000:])
            shutil.move(made, path)
    stamp.write_text(recipe_of(name, text))
    say(f"{name}: {len(layers)} layers in {time.monotonic() - started:.0f} s")
    return True


def prepare(names):
    targets = ["host", "text", *dict.fromkeys(MODELS[JOBS[name][0]][0] for name in names)]
    for command in ([sys.executable, ROOT / "scripts/fetch-assets.py", *targets], [ROOT / "scripts/build-host.sh", "tools"]):
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
            fail(f"'{command[-1]}' failed; see above")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", help=f"of: {', '.join(JOBS)}")
    parser.add_argument("--vattn", default=str(ROOT / "build/release/tools/vattn"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    names = args.name or list(JOBS)
    for name in names:
        if name not in JOBS:
            fail(f"unknown capture '{name}'; there are {', '.join(JOBS)}")
    prepare(names)
    for name in names:
        capture(name, args)
        print("\n".join(map(str, paths_of(name))))


if __name__ == "__main__":
    main()
