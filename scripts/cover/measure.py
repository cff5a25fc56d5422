# SPDX-License-Identifier: MIT
"""Runs of `vattn verify`, one for each subject and setting, condensed and remembered."""
import json
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from methods.memory import Memory, Progress, digest

OUTSIDE = "outside the promise"
GENERATORS = "generators"
LAYERS = {"smollm2-135m": 30, "qwen2.5-coder-0.5b": 24}  # of the models of the captures; scope token divides delta by them
OTHER_LAYERS = 24
LONG_DRAWS = 50


@dataclass(frozen=True)
class Setting:
    scope: str
    delta: float
    eps: float


@dataclass(frozen=True)
class Subject:
    """What is verified in one run: a step of a capture, or what a generator makes."""
    group: str     # the line of the table
    name: str
    words: tuple   # of the command
    identity: str  # of its contents
    layers: int
    draws: int


def of_capture(path, draws, wanted):
    """One subject for each of the wanted steps: first, middle, last."""
    name = Path(path).stem
    layers = next((n for model, n in LAYERS.items() if name.startswith(model)), OTHER_LAYERS)
    with safe_open(path, "numpy") as file:
        last = file.get_slice("n").get_shape()[0] - 1
    for step in sorted({{"first": 0, "middle": last // 2, "last": last}[word] for word in wanted}):
        yield Subject(name.rpartition("-layer")[0] or name, f"{name} step {step}", (str(path), "--steps", str(step)),
                      f"{digest(path)} step {step}", layers, draws)


def of_generators(vattn, draws, wanted):
    """What `vattn verify` can make: all of it, none, or by name. Notes in brackets say which are long, and which the promise excludes."""
    text = subprocess.run([vattn, "verify", "--list-generators"], stdout=subprocess.PIPE, text=True, check=True).stdout
    known = {line.split()[0] for line in text.splitlines()}
    chosen = known if wanted == "all" else set() if wanted == "none" else set(wanted.split(","))
    if chosen - known:
        raise RuntimeError(f"no generator is called {', '.join(sorted(chosen - known))}; `vattn verify --list-generators` has them")
    for line in text.splitlines():
        name, note = line.split()[0], line.rpartition("[")[2] if line.endswith("]") else ""
        group = OUTSIDE if "no sample can see it" in note else GENERATORS
        if name in chosen:
            yield Subject(group, name, ("--generator", name), name, OTHER_LAYERS, min(draws, LONG_DRAWS) if "long" in note else draws)


def condense(result):
    """What the table needs of one run of verify."""
    cases = result["cases"]
    worst = max(cases, key=lambda c: c["misses"])
    return {
        "cases": len(cases), "draws": result["draws"], "worst": worst["misses"] / result["draws"], "worst_case": name_of(worst),
        "again": [(name_of(c), c["misses"], c["stage2_misses"], c["stage2_draws"], c["pass"]) for c in cases if "stage2_draws" in c],
        "failed": [name_of(c) for c in cases if not c["pass"]],
        "slack": [c["slack"] for c in cases], "sampled": [c["slack"] for c in cases if 2 * c["exact"] < result["draws"]],
        "rows": result["rows_kv_fraction"], "bytes": result["bytes_fraction"],
        "exact": result["exact_share"], "looks": result["rounds_mean"],
    }


def name_of(case):
    head = "any head" if case.get("any_head") else "all heads" if case["head"] is None else f"head {case['head']}"
    return f"{Path(case['capture']).stem} step {case['step']} {head}"


class Court:
    def __init__(self, args, subjects):
        self.vattn, self.via, self.seed, self.token_draws = args.vattn, args.via, args.seed, args.token_draws
        self.subjects, self.build = subjects, digest(Path(args.vattn))
        self.memory = Memory(args.memory)
        self.pool = ThreadPoolExecutor(args.threads)

    def flags(self, subject, setting):
        draws = min(subject.draws, self.token_draws) if setting.scope == "token" else subject.draws
        flags = ["--method", "sparse", "--scope", setting.scope, "--delta", f"{setting.delta:g}", "--eps", f"{setting.eps:g}",
                 "--draws", str(draws), "--seed", str(self.seed)]
        return flags + (["--param", f"n_layers={subject.layers}"] if setting.scope == "token" else [])

    def name(self, subject, setting):
        return f"{self.build} {subject.identity} {' '.join(self.flags(subject, setting))}"

    def verdict(self, subject, setting):
        def make():
            with tempfile.NamedTemporaryFile(suffix=".json") as out:
                command = [*self.via, self.vattn, "verify", *self.flags(subject, setting), "--threads", "1", "--json", out.name,
                           *subject.words]
                done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
                if done.returncode > 1:
                    raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
                return condense(json.load(open(out.name, encoding="utf-8")))
        return self.memory.remembered(self.name(subject, setting), make)

    def remembered(self, settings):
        """As verdicts, of what was measured; nothing is measured now."""
        found = [(subject, setting, self.memory.find(self.name(subject, setting))) for setting in settings for subject in self.subjects]
        return [piece for piece in found if piece[2] is not None]

    def verdicts(self, settings):
        """Of every subject under every setting: (subject, setting, verdict)."""
        pieces = [(subject, setting) for setting in settings for subject in self.subjects]
        left = [piece for piece in pieces if self.memory.find(self.name(*piece)) is None]
        progress = Progress("coverage", len(left))
        waiting = [self.pool.submit(self.verdict, *piece) for piece in left]
        try:
            for piece, verdict in zip(left, waiting):
                verdict.result()
                progress.add(f"{piece[0].name}, {piece[1].scope}, delta {piece[1].delta:g}, eps {piece[1].eps:g}")
        finally:
            self.pool.shutdown(cancel_futures=True)
        if left:
            progress.end()
        return [(*piece, self.verdict(*piece)) for piece in pieces]
