#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How often the methods of the vAttention paper miss their own target and the output: docs/results/hub.md.

    scripts/hub-table.py [--draws N] [-o FILE] [CAPTURE...]      (make hub CAPTURES='...')

Without captures one layer of each text of scripts/make-captures.py is used. Every run is remembered in build/hub, so an interrupted table
goes on where it stopped.
Every figure is a count of `vattn verify`: relative error of the denominator, the numerator and the output of a head above eps,
over draws of the whole method. Beside the captures there are synthetic heads with normal scores.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from methods.memory import Memory, Progress, digest                 # noqa: E402
from methods.usual import captures as usual_captures, one_layer     # noqa: E402

SETTING = {"sink": 128, "window": 128, "topk": 0.01, "base": 0.01}  # the paper's ablation over eps and delta
METHODS = ["hub", "paper-d", "paper-n", "paper-sdpa"]
SPREADS = [1, 2, 3]  # of synthetic scores, nats
SYNTHETIC = ["--head-dim", "128", "--group", "1", "--kv-heads", "4"]
KEPT = ["misses", "denominator_misses", "numerator_misses", "denominator_bias", "mean_error", "rows_kv_fraction", "tail_mass"]
KINDS = [("flat", 0.3, 1.01), ("between", 0.05, 0.3), ("peaked", -1, 0.05)]


def verify(args, method, what, name):
    """The cases of one run, each with the name of its input."""
    flags = ["--method", method, "--eps", str(args.eps), "--delta", str(args.delta), "--draws", str(args.draws), "--single-stage"]
    if method != "sparse":
        for key, value in SETTING.items():
            flags += ["--param", f"{key}={value}"]

    def make():
        command = [*args.via, args.vattn, "verify", *flags, "--threads", str(args.threads)]
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            done = subprocess.run(command + ["--json", out.name] + what, stdout=subprocess.DEVNULL, check=False)
            if done.returncode > 1:
                sys.exit(f"{' '.join(command)} gave {done.returncode}")
            cases = json.load(open(out.name, encoding="utf-8"))["cases"]
        return [{key: case[key] for key in KEPT} for case in cases]

    contents = " ".join(word if word.startswith("-") or not pathlib.Path(word).exists() else digest(word) for word in what)
    cases = args.memory.remembered(f"{digest(args.vattn)} {' '.join(flags)} {contents}", make)
    args.progress.add(f"{method}: {name}")
    return [case | {"input": name, "method": method} for case in cases]


def run_all(args):
    cases = []
    for method in METHODS + ["sparse"]:
        for path in args.captures:
            cases += verify(args, method, [path], pathlib.Path(path).stem)
        for spread in SPREADS:
            cases += verify(args, method, ["--generator", "plain", "--spread", str(spread), "--keys", str(args.keys)] + SYNTHETIC,
                            f"synthetic, spread {spread}")
    return cases


def kind_of(case):
    return next(name for name, low, high in KINDS if low <= case["tail_mass"] < high)


def share(cases, key, draws):
    """Mean and range of a count over cases, in per cent."""
    values = [100 * c[key] / draws for c in cases]
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def above(cases, key, draws, delta):
    """How many cases miss more often than delta."""
    return f"{sum(c[key] > delta * draws for c in cases)} of {len(cases)}"


def mean(cases, key):
    return sum(c[key] for c in cases) / len(cases)


def table(rows):
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def by_kind(cases, args):
    rows = [["heads", "method", "D missed, %", "N missed, %", "output missed, %", "heads that miss the output too often",
             "mean of D^ / D - 1, %", "mean output error", "rows read, %"]]
    for kind, _, _ in KINDS:
        for method in METHODS + ["sparse"]:
            part = [c for c in cases if c["method"] == method and kind_of(c) == kind]
            if part:
                rows.append([f"{kind} ({len(part)})", method, share(part, "denominator_misses", args.draws),
                             share(part, "numerator_misses", args.draws), share(part, "misses", args.draws),
                             above(part, "misses", args.draws, args.delta), f"{100 * mean(part, 'denominator_bias'):+.2f}",
                             f"{mean(part, 'mean_error'):.3f}", f"{100 * mean(part, 'rows_kv_fraction'):.1f}"])
    return table(rows)


def by_input(cases, args):
    rows = [["input", "flat heads", "tail mass", "method", "D missed, %", "output missed, %", "mean of D^ / D - 1, %",
             "rows read, %"]]
    for name in dict.fromkeys(c["input"] for c in cases):
        for method in METHODS[:2]:
            part = [c for c in cases if c["input"] == name and c["method"] == method and kind_of(c) == "flat"]
            if part:
                rows.append([name, str(len(part)), f"{mean(part, 'tail_mass'):.2f}", method,
                             share(part, "denominator_misses", args.draws), share(part, "misses", args.draws),
                             f"{100 * mean(part, 'denominator_bias'):+.2f}",
                             f"{100 * mean(part, 'rows_kv_fraction'):.1f}"])
    return table(rows)


TEXT = """# How often the paper's methods miss

Made by `make hub CAPTURES='...'` (`scripts/hub-table.py`); the methods are described in `docs/methods.md`.

eps = {eps}, delta = {delta}, {draws} draws of every head; sink = window = 128 rows, top-k 1 % by exact scores, base sample 1 % (the setting of the
paper's own ablation over eps and delta). A target is missed in a draw if the relative error of D, of N or of the output exceeds eps; a
correct method misses its own target in at most {delta_percent:g} % of the draws. `hub` and `paper-d` aim at D, `paper-n` at N, `paper-sdpa` and `sparse` (ours,
default parameters) at the output. Draws are never pooled: the range over heads stands in brackets.

Heads are called flat where the largest 5 % of rows hold less than 70 % of the softmax, peaked where they hold more than 95 %. A head is
one query head at one step. Inputs: {inputs}; and synthetic keys with normal scores of spread 1, 2 and 3 nats ({keys} keys, head_dim
128, four heads each). Rows read are those of a KV head, the union over its query heads.

## By kind of head

{by_kind}

## Flat heads, by input

{by_input}

## What it shows

* `hub` misses its own target on flat heads in {hub_d} % of the draws, mean over heads and range. Its D is too small on average, since rows
  drawn twice count once, and more so the larger its sample. The sample is larger than the formula needs where the pilot hits selected rows,
  and too small by the one-sided quantile.
* `paper-d`, the same idea with a two-sided quantile, without replacement and with the pilot as data, misses D in {paper_d} %: closer to
  delta, though not within it for every head, because the pilot's variance is taken for the truth. It reads less than `hub`.
* Control of D says nothing about the output: on flat heads `hub` misses the output in {hub_o} %, `paper-d` in {paper_o} %.
* What the paper's formulas for N and for the output cost stands in the rows read, beside what `sparse` reads for its word about the output.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="*")
    parser.add_argument("--vattn", default=str(ROOT / "build/release/tools/vattn"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--delta", type=float, default=0.05)
    parser.add_argument("--keys", type=int, default=32768, help="of the synthetic heads")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--via", default=[], type=str.split, help="words before every run, such as 'nice' or those of a lock")
    parser.add_argument("--memory", type=pathlib.Path, default=ROOT / "build/hub", help="folder of what was measured before")
    parser.add_argument("-o", "--output", default=str(ROOT / "docs/results/hub.md"))
    args = parser.parse_args()
    args.captures = args.captures or one_layer(usual_captures(args.vattn))
    args.memory, args.progress = Memory(args.memory), Progress("hub", (len(METHODS) + 1) * (len(args.captures) + len(SPREADS)))
    cases = run_all(args)
    args.progress.end()
    flat = {m: [c for c in cases if c["method"] == m and kind_of(c) == "flat"] for m in METHODS}
    text = TEXT.format(eps=args.eps, delta=args.delta, delta_percent=100 * args.delta, draws=f"{args.draws:,}", keys=f"{args.keys:,}",
                       inputs=", ".join(pathlib.Path(p).stem for p in args.captures) or "no captures",
                       by_kind=by_kind(cases, args), by_input=by_input(cases, args),
                       hub_d=share(flat["hub"], "denominator_misses", args.draws),
                       hub_o=share(flat["hub"], "misses", args.draws),
                       paper_d=share(flat["paper-d"], "denominator_misses", args.draws),
                       paper_o=share(flat["paper-d"], "misses", args.draws))
    pathlib.Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(args.output).write_text(text, encoding="utf-8")
    print(args.output)


if __name__ == "__main__":
    main()
