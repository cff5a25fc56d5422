# SPDX-License-Identifier: MIT
"""The measured rows as a CSV file: written, read back, and refused where they contradict themselves."""
from dataclasses import dataclass

import numpy as np

from . import csvfile
from .csvfile import Refused, demand
from .series import variant

ALL = "all"
ABOVE = 0.05


@dataclass
class Row:
    input: str         # a capture, or all of them
    method: str
    on: str            # the selector of a rule
    density: float     # wanted; 0 for our method at a given eps
    knobs: str
    head: float        # share of the visible rows that a head uses
    rows: float        # share of which K and V are read for a KV head
    bytes: float       # all bytes read, index included, over those of all visible K and V rows
    error_mean: float
    error_q95: float
    error_worst: float # of a head: its mean
    above: float       # share of the errors above 5 %
    errors: int        # heads x steps x draws

    @property
    def key(self):
        return self.method, self.on, self.density, self.knobs


def rows_of(setting, captures, heads, readings):
    """One row for every capture and one for all; errors are pooled, what is read is averaged over captures."""
    def row(name, chosen):
        parts = [readings[i].errors for i in chosen]
        pooled = np.concatenate([p.ravel() for p in parts])
        mean = lambda values: float(np.mean([values[i] for i in chosen]))
        return Row(name, setting.series, setting.selector, setting.density, " ".join(f"{k}={v:.4g}" for k, v in setting.knobs),
                   mean(heads), mean([r.rows for r in readings]), mean([r.bytes for r in readings]), float(pooled.mean()),
                   float(np.quantile(pooled, 0.95, method="inverted_cdf")), float(max(p.mean(axis=(0, 1)).max() for p in parts)),
                   float((pooled > ABOVE).mean()), pooled.size)
    everything = range(len(captures))
    return [row(ALL, everything)] + [row(captures[i].name, [i]) for i in everything]


def write_csv(path, conditions, rows):
    csvfile.write_csv(path, Row, conditions, rows, digits=5)


def read_csv(path):
    """Conditions and rows; Refused unless they agree with one another."""
    conditions, rows = csvfile.read_csv(path, Row, check_row)
    for group in grouped(rows):
        check_group(path, group)
    check_order(path, rows)
    return conditions, rows


def check_row(r):
    """What is true of every row. Numbers have five digits."""
    slack = 1 + 1e-4
    demand(0 <= r.density < 1 and r.errors > 0, "no such density or no errors")
    shared = r.input != ALL and variant(r.method)  # no union to hide that a head's share is of the middle step, with draws of its own
    most = 1.25 if shared else 1.05
    demand(0 < r.head <= slack and r.head <= r.rows * most, f"a head uses {r.head} of the rows, its KV head reads {r.rows}")
    demand(0 < r.rows <= slack, f"a share of {r.rows} rows")
    demand(r.bytes >= r.rows / slack, f"{r.bytes} of the bytes hold no {r.rows} of the rows")
    demand(0 <= r.error_mean <= r.error_worst * slack, f"the worst head's error {r.error_worst} is below the mean {r.error_mean}")
    demand(0 <= r.above <= 1 and r.above * ABOVE <= r.error_mean * slack, f"a mean of {r.error_mean} leaves no {r.above} above {ABOVE}")
    near = abs(r.above - 0.05) < 1e-4 or abs(r.error_q95 - ABOVE) < 1e-5
    demand(near or (r.error_q95 > ABOVE) == (r.above > 0.05), f"95 % quantile {r.error_q95}, but {r.above} above {ABOVE}")


def grouped(rows):
    groups = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    return groups.values()


def check_group(path, group):
    """The row for all captures follows from theirs."""
    name = " ".join(map(str, group[0].key))
    whole, parts = [r for r in group if r.input == ALL], [r for r in group if r.input != ALL]
    if len(whole) != 1 or len({r.input for r in parts}) != len(parts) or not parts:
        raise Refused(f"{path}: {name}: not one row for all and one for every capture")
    whole, weight = whole[0], [r.errors for r in parts]
    for key in ["head", "rows", "bytes"]:
        agree(path, name, key, getattr(whole, key), np.mean([getattr(r, key) for r in parts]))
    for key in ["error_mean", "above"]:
        agree(path, name, key, getattr(whole, key), np.average([getattr(r, key) for r in parts], weights=weight))
    agree(path, name, "error_worst", whole.error_worst, max(r.error_worst for r in parts))
    agree(path, name, "errors", whole.errors, sum(weight))
    quantiles = [r.error_q95 for r in parts]
    if not min(quantiles) <= whole.error_q95 <= max(quantiles):
        raise Refused(f"{path}: {name}: the 95 % quantile of all is outside those of the captures")


def agree(path, name, key, one, other):
    if abs(one - other) > 2e-4 * max(abs(one), abs(other)):
        raise Refused(f"{path}: {name}: {key} of all is {one:.5g}, the captures give {other:.5g}")


def check_order(path, rows):
    """Larger densities read more, of every method."""
    curves = {}
    for row in rows:
        if row.input == ALL and row.density > 0:
            curves.setdefault((row.method, row.on), []).append(row)
    for (method, on), curve in curves.items():
        curve.sort(key=lambda r: r.density)
        for a, b in zip(curve, curve[1:]):
            if not (a.density < b.density and a.rows <= b.rows * 1.001):
                raise Refused(f"{path}: {method} {on}: density {b.density} reads {b.rows} of the rows, {a.density} reads {a.rows}")
