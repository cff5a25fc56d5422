# SPDX-License-Identifier: MIT
"""Verdicts as a CSV file, a row for a group of subjects and a setting: written, read back, refused where they contradict themselves."""
import math
from dataclasses import dataclass
from statistics import median

from methods import csvfile
from methods.csvfile import Refused, demand

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
    sampled: int       # cases of which more than half of the draws were answered from samples
    mean_slack: float  # eps over the mean of the quantiles of these; 0 where there is none
    failures: str      # names of the cases that failed

    @property
    def outside(self):
        return self.group == OUTSIDE

    @property
    def key(self):
        return self.group, self.scope, self.delta, self.eps


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
    sampled = [s for p in parts for s in p["sampled"]]
    return Row(*key, len(parts), cases, max(p["draws"] for p in parts), len(again), len(failed), worst["worst"], worst["worst_case"],
               max((case[2] / case[3] for case in again), default=0.0), mean("rows"), mean("bytes"),
               sum(p["exact"] * p["cases"] for p in parts) / cases, mean("looks"), slack, len(sampled), mean_slack(sampled), "; ".join(failed))


def mean_slack(values):
    total = sum(1 / s for s in values if s is not None)  # none: no error at all
    return len(values) / total if total > 0 else 0.0


def write_csv(path, conditions, rows):
    csvfile.write_csv(path, Row, conditions, rows, digits=4)


def read_csv(path):
    """Conditions and rows; Refused unless they agree with one another."""
    conditions, rows = csvfile.read_csv(path, Row, check_row)
    check_product(path, rows, MISSING in conditions)
    return conditions, rows


def check_row(r):
    demand(0 < r.runs <= r.cases and 0 <= r.again <= r.cases and 0 <= r.failed <= r.cases, "counts that do not fit")
    demand(r.failed == len([name for name in r.failures.split("; ") if name]), f"{r.failed} failed, but {r.failures!r} are named")
    demand(0 <= r.worst <= 1 and 0 <= r.worst_again <= 1 and 0 <= r.exact <= 1, "a share beyond 0 and 1")
    demand(0 <= r.sampled <= r.cases and (r.mean_slack > 0) <= (r.sampled > 0), "a mean slack without cases")
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
