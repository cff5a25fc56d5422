#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Error against bytes read, of every method and selector: docs/results/methods.md, methods.csv and two plots.

    scripts/methods-table.py [CAPTURE...]        (make methods CAPTURES='...')
    scripts/methods-table.py --only sparse --renew      measure one method anew, keep the other rows of methods.csv
    scripts/methods-table.py --check             do methods.csv and methods.md agree with themselves and with one another?

Without captures one layer of each text of scripts/make-captures.py is used, and made where it is missing. Every measurement is remembered in
build/methods, so an interrupted table goes on where it stopped; it is forgotten when the command or a capture changes.
"""
import argparse
import datetime
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from methods.memory import Memory, Missing                   # noqa: E402
from methods.report import Report                               # noqa: E402
from methods.table import Refused, read_csv, rows_of, write_csv  # noqa: E402
from methods.usual import captures as usual_captures, one_layer, version_of  # noqa: E402


def conditions_of(args, captures, absent):
    from methods import series
    tokens = {}
    for c in captures:
        shape = f"{c.heads} heads on {c.kv_heads}"
        tokens.setdefault((c.name.rpartition("-layer")[0] or c.name, c.n[-1], shape), []).append(str(int(c.metadata.get("layer", 0))))
    return {
        "captures": "; ".join(f"{name} ({n} tokens; {shape} KV heads; layer {', '.join(layers)})" for (name, n, shape), layers in
                              tokens.items()),
        "steps": f"{len(captures[0].steps)} of each (first, middle, last)",
        "draws": f"{args.draws} of methods with random numbers; random indexes made with another seed for every step",
        "sinks": f"{series.SINK} rows", "window": f"{series.WINDOW} rows", "delta": "0.05",
        "not in this build": ", ".join(absent) or "nothing",
        "version": version_of(args.vattn), "date": datetime.date.today().isoformat(),
    }


def measure(args):
    from methods import series
    from methods.inputs import Capture
    from methods.measure import Laboratory
    choose = list if args.all_layers else one_layer
    captures = [Capture(path) for path in args.captures or choose(usual_captures(args.vattn))]
    laboratory = Laboratory(args.vattn, args.via, captures, args.draws, args.threads, Memory(args.memory, args.remembered))
    laboratory.progress.total = series.expected(args.only, args.densities)
    rows, left = [], 0
    try:
        for find in series.settings_of(laboratory, args.only, args.densities):
            try:
                setting = find()
                readings = laboratory.readings(setting)
                heads = [r.rows for r in readings] if setting.shares_rows else laboratory.head_shares(setting)
            except Missing:
                left += 1
                continue
            rows += rows_of(setting, captures, heads, readings)
        absent = [name for name in ("sparse", "sparse-strict") if not laboratory.serves(name)]
        laboratory.progress.end()
    finally:
        laboratory.close()
    args.output.mkdir(parents=True, exist_ok=True)
    conditions = conditions_of(args, captures, absent) | ({"settings not measured": str(left)} if left else {})
    if args.renew:
        conditions, rows = renewed(args.output / "methods.csv", conditions, rows)
    write_csv(args.output / "methods.csv", conditions, rows)


def renewed(path, conditions, rows):
    """The old table with the new rows in the place of those of the same methods; who measured what stays in its conditions."""
    old_conditions, old = read_csv(path)
    differ = [name for name in conditions if name not in ("version", "date") and conditions[name] != old_conditions.get(name)]
    if differ:
        raise Refused(f"{path} was measured under other conditions: {', '.join(differ)}")
    methods = {r.method for r in rows}
    first = next((i for i, r in enumerate(old) if r.method in methods), len(old))
    kept = [r for r in old if r.method not in methods]
    note = {f"later, {m}": f"{conditions['version']}, {conditions['date']}" for m in sorted(methods)}
    return old_conditions | note, kept[:first] + rows + kept[first:]


def write_report(args):
    from methods.plots import draw
    conditions, rows = read_csv(args.output / "methods.csv")
    (args.output / "methods.md").write_text(Report(conditions, rows).text(), encoding="utf-8")
    draw(rows, args.output)
    print(args.output / "methods.md")


def check(args):
    conditions, rows = read_csv(args.output / "methods.csv")
    if (args.output / "methods.md").read_text(encoding="utf-8") != Report(conditions, rows).text():
        raise Refused(f"{args.output}/methods.md is not what methods.csv says; `make methods` writes both")
    print(f"{len(rows)} rows agree")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="*")
    parser.add_argument("--vattn", default=str(ROOT / "build/release/tools/vattn"))
    parser.add_argument("--via", default=[], type=str.split, help="words before every run, such as 'nice' or those of a lock")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="runs at a time")
    parser.add_argument("--only", default=[], type=lambda s: s.split(","), help="methods, rules and selectors, with commas between")
    parser.add_argument("--renew", action="store_true", help="with --only: keep the other rows of methods.csv as they are")
    parser.add_argument("--all-layers", action="store_true", help="of the usual captures; otherwise one of each text")
    parser.add_argument("--densities", default=[0.02, 0.05, 0.1, 0.2], type=lambda s: [float(x) for x in s.split(",")])
    parser.add_argument("--memory", type=Path, default=ROOT / "build/methods", help="folder of what was measured before")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/results", help="folder of methods.csv, .md and the plots")
    parser.add_argument("--remembered", action="store_true", help="measure nothing, tabulate what was measured before")
    parser.add_argument("--check", action="store_true", help="measure nothing")
    parser.add_argument("--report", action="store_true", help="measure nothing, write text and plots from methods.csv")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if args.check:
            check(args)
            return
        if not args.report:
            measure(args)
        write_report(args)
    except (Refused, RuntimeError) as error:
        sys.exit(f"methods-table: {error}")
    except KeyboardInterrupt:
        sys.exit("methods-table: interrupted; run again to go on")


if __name__ == "__main__":
    main()
