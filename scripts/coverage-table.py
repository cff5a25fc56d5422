#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does `sparse` keep its promise, for every delta, eps and scope: docs/results/coverage.md and coverage.csv.

    scripts/coverage-table.py [CAPTURE...]       (make coverage CAPTURES='...')
    scripts/coverage-table.py --check            do coverage.csv and coverage.md agree with themselves and with one another?

Every capture, and every generator of `vattn verify`, is judged by the two-stage test of `vattn verify` under the full product of
settings. Without captures those of scripts/make-captures.py are used, and made where they are missing. Every verdict is remembered
in build/coverage, so an interrupted table goes on where it stopped; it is forgotten when the command or a capture changes.
Exit 1 if a case breaks the promise.
"""
import argparse
import datetime
import itertools
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from cover.measure import Court, Setting, of_capture, of_generators  # noqa: E402
from cover.report import Report                                          # noqa: E402
from cover.table import MISSING, Refused, read_csv, rows_of, write_csv   # noqa: E402
from methods.usual import captures as usual_captures, version_of        # noqa: E402


def measure(args):
    paths = [] if args.no_captures else args.captures or usual_captures(args.vattn)
    subjects = [subject for path in paths for subject in of_capture(path, args.draws, args.steps)]
    subjects += of_generators(args.vattn, args.generator_draws, args.generators)
    if not subjects:
        raise Refused("neither captures nor generators to verify")
    settings = [Setting(*s) for s in itertools.product(args.scopes, args.deltas, args.eps)]
    court = Court(args, subjects)
    verdicts = court.remembered(settings) if args.remembered else court.verdicts(settings)
    if args.measure_only:
        return
    left = len(settings) * len(subjects) - len(verdicts)
    conditions = {"draws of a case": f"{args.draws} on captures, {args.generator_draws} on generators (50 on `million`), at most "
                                     f"{args.token_draws} in scope token; ten times as many "
                                     "fresh ones where a case is drawn again",
                  "steps": ", ".join(args.steps), "seed": str(args.seed), "version": version_of(args.vattn), "date": datetime.date.today().isoformat()}
    args.output.mkdir(parents=True, exist_ok=True)
    write_csv(args.output / "coverage.csv", conditions | ({MISSING: f"{left:,}"} if left else {}), rows_of(verdicts))


def write_report(args):
    (args.output / "coverage.md").write_text(Report(*read_csv(args.output / "coverage.csv")).text(), encoding="utf-8")
    print(args.output / "coverage.md")


def check(args):
    conditions, rows = read_csv(args.output / "coverage.csv")
    if (args.output / "coverage.md").read_text(encoding="utf-8") != Report(conditions, rows).text():
        raise Refused(f"{args.output}/coverage.md is not what coverage.csv says; `make coverage` writes both")
    print(f"{len(rows)} rows agree")


def numbers(text):
    return [float(x) for x in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="*")
    parser.add_argument("--vattn", default=str(ROOT / "build/release/tools/vattn"))
    parser.add_argument("--via", default=[], type=str.split, help="words before every run, such as 'nice' or those of a lock")
    parser.add_argument("--draws", type=int, default=1000, help="of every case of a capture, in the first stage")
    parser.add_argument("--generator-draws", type=int, default=300)
    parser.add_argument("--token-draws", type=int, default=500, help="at most, in scope token, where a head may hardly ever miss")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scopes", default=["head", "layer", "token"], type=lambda s: s.split(","))
    parser.add_argument("--deltas", default=[0.01, 0.05, 0.1, 0.25], type=numbers)
    parser.add_argument("--eps", default=[0.02, 0.05, 0.1, 0.2], type=numbers)
    parser.add_argument("--steps", default=["first", "middle", "last"], type=lambda s: s.split(","), help="of every capture")
    parser.add_argument("--no-captures", action="store_true")
    parser.add_argument("--generators", default="all", help="names with commas between, all, or none")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="runs at a time")
    parser.add_argument("--memory", type=Path, default=ROOT / "build/coverage", help="folder of verdicts that were reached before")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/results", help="folder of coverage.csv and coverage.md")
    parser.add_argument("--check", action="store_true", help="measure nothing")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the text from coverage.csv")
    parser.add_argument("--remembered", action="store_true", help="measure nothing, tabulate what was measured before")
    parser.add_argument("--measure-only", action="store_true", help="write nothing, only remember")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if args.check:
            check(args)
            return
        if not args.report:
            measure(args)
        if args.measure_only:
            return
        write_report(args)
    except (Refused, RuntimeError) as error:
        sys.exit(f"coverage-table: {error}")
    except KeyboardInterrupt:
        sys.exit("coverage-table: interrupted; run again to go on")
    sys.exit(any(row.failed for row in read_csv(args.output / "coverage.csv")[1] if not row.outside))


if __name__ == "__main__":
    main()
