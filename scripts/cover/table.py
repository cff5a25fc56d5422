# SPDX-License-Identifier: MIT
"""Verdicts as a CSV file, a row for a group of subjects and a setting: written, read back, refused where they contradict themselves."""
import csv
import io
import math
from dataclasses import astuple, dataclass, fields
from statistics import median

from .binomial import LOOK_AGAIN, least
from .measure import GENERATORS, OUTSIDE


MISSING = "runs not made"  # a condition of a table that was written before its end


@dataclass
class Row:
    group: str
    scope: str
    delta: float
    eps: float
    runs: int          # of verify: one for a step of a capture, or for a generator
    cases: int
    draws: int         # of a case in the first stage
    again: int         # cases that were drawn again
    failed: int
    worst: float       # largest share of missed draws of a case, first stage
    worst_case: str
    worst_again: float # the same among cases that were drawn again, second stage
    rows: float        # share of the rows of which K and V were read
    bytes: float       # all bytes read, index included, over those of all visible K and V rows
    exact: float       # share of exact answers
    looks: float
    slack: float       # eps over the 95 % quantile of the error, median over cases
    failures: str      # names of the cases that failed

    @property
    def outside(self):
        return self.group == OUTSIDE

    @property
    def key(self):
        return self.group, self.scope, self.delta, self.eps


COLUMNS = [f.name for f in fields(Row)]


def rows_of(verdicts):
    groups = {}
    for subject, setting, verdict in verdicts:
        groups.setdefault((subject.group, setting.scope, setting.delta, setting.eps), []).append(verdict)
    return [row_of(key, parts) for key, parts in groups.items()]


def row_of(key, parts):
    cases = sum(p["cases"] for p in parts)
    worst = max(parts, key=lambda p: p["worst"])
    again = [case for p in parts for case in p["again"]]
    failed = [name for p in parts for name in p["failed"]]
    mean = lambda name: sum(p[name] for p in parts) / len(parts)
    slack = median(math.inf if s is None else s for p in parts for s in p["slack"])
    return Row(*key, len(parts), cases, max(p["draws"] for p in parts), len(again), len(failed), worst["worst"], worst["worst_case"],
               max((case[2] / case[3] for case in again), default=0.0), mean("rows"), mean("bytes"),
               sum(p["exact"] * p["cases"] for p in parts) / cases, mean("looks"), slack, "; ".join(failed))


def write_csv(path, conditions, rows):
    text = io.StringIO()
    for name, value in conditions.items():
        text.write(f"# {name}: {value}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([f"{x:.4g}" if isinstance(x, float) else x for x in astuple(row)])
    path.write_text(text.getvalue(), encoding="utf-8")


class Refused(Exception):
    """A file that no measurement can have written."""


def read_csv(path):
    """Conditions and rows; Refused unless they agree with one another."""
    conditions, lines = {}, []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            name, _, value = line[2:].partition(": ")
            conditions[name] = value
        else:
            lines.append(line)
    reader = csv.reader(lines)
    if next(reader, None) != COLUMNS:
        raise Refused(f"{path}: the columns are not {','.join(COLUMNS)}")
    rows = []
    for number, cells in enumerate(reader, len(conditions) + 2):
        try:
            if len(cells) != len(COLUMNS):
                raise ValueError(f"{len(cells)} cells")
            rows.append(Row(*(f.type(cell) for f, cell in zip(fields(Row), cells))))
            check_row(rows[-1])
        except ValueError as error:
            raise Refused(f"{path}: line {number}: {error}") from None
    check_product(path, rows, MISSING in conditions)
    return conditions, rows


def demand(truth, what):
    if not truth:
        raise ValueError(what)


def check_row(r):
    demand(0 < r.runs <= r.cases and 0 <= r.again <= r.cases and 0 <= r.failed <= r.cases, "counts that do not fit")
    demand(r.failed == len([name for name in r.failures.split("; ") if name]), f"{r.failed} failed, but {r.failures!r} are named")
    demand(0 <= r.worst <= 1 and 0 <= r.worst_again <= 1 and 0 <= r.exact <= 1, "a share beyond 0 and 1")
    demand(0 < r.rows <= 1.0001 and r.rows <= r.bytes * 1.001, f"{r.bytes} of the bytes hold no {r.rows} of the rows")
    if r.scope != "token" and r.runs > 0 and r.group != GENERATORS:  # one limit for all of them
        misses, limit = round(r.worst * r.draws), least(r.draws, r.delta, LOOK_AGAIN)
        demand((misses > limit) == (r.again > 0), f"{misses} misses where {limit} are allowed, and {r.again} cases drawn again")


def check_product(path, rows, partial):
    """Every group under every setting, once, unless the file says that pieces are missing."""
    settings = {r.key[1:] for r in rows}
    for group in {r.group for r in rows}:
        mine = [r for r in rows if r.group == group]
        if len({r.key for r in mine}) != len(mine) or not partial and {r.key[1:] for r in mine} != settings:
            raise Refused(f"{path}: {group}: not every setting once")


def wasteful(rows):
    """Where a larger eps read more rows in the same runs: no promise is broken, but something asks for too much."""
    return [(r, other) for r in rows for other in rows
            if (other.group, *other.key[1:3], other.runs) == (r.group, *r.key[1:3], r.runs)
            and other.eps > r.eps and other.rows > 1.05 * r.rows + 0.005]