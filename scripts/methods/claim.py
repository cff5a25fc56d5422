# SPDX-License-Identifier: MIT
"""Reading the same, is vAttention on a selector better than that selector alone?

The selector alone is a curve of error against what is read, through its measured densities, straight in logarithms between
neighbours (shares above 5 %, which can be zero, are straight against the logarithm). Every setting of a rule is compared with the
curve at the bytes, or at the rows of a head, that the setting itself read. Nothing is extrapolated.
"""
import math
from dataclasses import dataclass

from .table import ALL


@dataclass
class Comparison:
    ratio: float = math.nan     # error of the rule / error of the selector, over all captures; nan outside the curve
    better: int = 0             # captures on which the ratio is below 1
    compared: int = 0           # captures on which there is one
    above: tuple = (math.nan, math.nan)  # shares above 5 %: selector, rule


def interpolate(points, x, straight):
    """y at x on a curve of (x, y); nan outside."""
    points = sorted(points)
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x0 <= x <= x1:
            t = 0.0 if x1 == x0 else math.log(x / x0) / math.log(x1 / x0)
            if straight or y0 <= 0 or y1 <= 0:
                return y0 + t * (y1 - y0)
            return math.exp(math.log(y0) + t * math.log(y1 / y0))
    return math.nan


class Curves:
    def __init__(self, rows):
        self.alone, self.rules = {}, {}
        for row in rows:
            if row.on:
                self.rules[row.method, row.on, row.density, row.input] = row
            elif row.density > 0:
                self.alone.setdefault((row.method, row.input), []).append(row)
        self.inputs = list(dict.fromkeys(row.input for row in rows if row.input != ALL))

    def ratio(self, row, measure):
        curve = self.alone.get((row.on, row.input), [])
        base = interpolate([(getattr(r, measure), r.error_mean) for r in curve], getattr(row, measure), False)
        return row.error_mean / base if base > 0 else math.nan

    def compare(self, rule, selector, density, measure):
        """measure: "bytes" or "head"."""
        whole = self.rules.get((rule, selector, density, ALL))
        if whole is None:
            return Comparison()
        each = [self.ratio(self.rules[rule, selector, density, name], measure) for name in self.inputs]
        each = [ratio for ratio in each if not math.isnan(ratio)]
        curve = [(getattr(r, measure), r.above) for r in self.alone.get((selector, ALL), [])]
        above = interpolate(curve, getattr(whole, measure), True)
        return Comparison(self.ratio(whole, measure), sum(ratio < 1 for ratio in each), len(each), (above, whole.above))
