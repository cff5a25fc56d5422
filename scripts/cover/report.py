# SPDX-License-Identifier: MIT
"""docs/results/coverage.md, a function of the CSV file alone."""
from methods.csvfile import percent, table

from .binomial import limits, power
from .measure import GENERATORS, OUTSIDE
from .table import MISSING, wasteful

TEXT = """# Coverage: does `sparse` keep its promise?

Made by `make coverage` (`scripts/coverage-table.py`) from `coverage.csv` beside it, which has a row for every group and setting. The promise
and the test: `docs/statistics.md`, sections 1 and 6.

## How to read it

* A **case** is one head at one step of one capture (scope head), all heads of a call (layer), or one head with its share of delta over all heads
  and layers of the model, and then all heads of the call with theirs (token). Cases are never pooled.
* A **miss** is a draw of the whole procedure, from a cold controller, whose error, measured in double precision, is above eps.
* **Worst** is the largest share of missed draws of any case in the first stage. A correct case may lie above delta there by chance: then
  it is drawn again, ten times as often, and only that second stage can fail it.
* A run of the test, one step of a capture or one generator under one setting, lets correct cases fail with probability {alarm:g}; {runs} runs together with at
  most {total_alarm:.2g}.
* **Runs** beside a cell say how much of it was measured, where a table was written before its end; cells with other runs do not compare.
* **Rows** and **bytes** are what was read, of all visible rows and of their K and V bytes; the index counts. They are means over runs.

Conditions: {conditions}

## Verdict

{verdict}
{waste}
{matrices}
## By capture, eps = {eps:g}, delta = {delta:g}

Slack is eps over the 95 % quantile of the error, median over cases; the mean is eps over the mean of these quantiles, of the cases that were answered from
samples more often than exactly.

{groups}

## What the test can see

The first stage asks again above its limit, the second fails above its own; then the probability that a case is found which misses 1.5, 2, 5 or
50 times as often as it may (a run of {usual} cases, {draws} draws, or those of scope token; there delta .05, 24 layers of 14 heads).

{powers}

In scope token the share of a head is so small that so few draws find only cheats of many times the share; all heads of a call together are judged beside
it.
{outside}"""


def slack_of(value):
    return f"{value:.2f}" if value < 100 else "> 100"


class Report:
    def __init__(self, conditions, rows):
        self.conditions, self.rows = conditions, rows
        self.scopes = list(dict.fromkeys(r.scope for r in rows))
        self.deltas, self.eps = sorted({r.delta for r in rows}), sorted({r.eps for r in rows})
        self.real = [r for r in rows if r.group not in (GENERATORS, OUTSIDE)]
        self.made = [r for r in rows if r.group == GENERATORS]
        self.outside = [r for r in rows if r.outside]

    def verdict(self):
        lines = []
        for name, rows in (("Captures", self.real), ("Generators", self.made)):
            for scope in self.scopes if rows else []:
                part = [r for r in rows if r.scope == scope]
                if not part:
                    lines.append(f"* {name}, scope {scope}: not measured.")
                    continue
                cases, failed, again = (sum(getattr(r, key) for r in part) for key in ("cases", "failed", "again"))
                lines.append(f"* {name}, scope {scope}: {cases - failed:,} of {cases:,} cases kept the promise; drawn again: {again}.")
        lines += self.slack()
        failures = [(r, name) for r in self.real + self.made for name in r.failures.split("; ") if name]
        lines += [f"* **Failed:** {name}, at eps {r.eps:g}, delta {r.delta:g}, scope {r.scope}." for r, name in failures]
        return "\n".join(lines)

    def slack(self):
        eps, delta = self.usual_setting()
        usual = lambda rows: [r for r in rows if r.key[1:] == ("head", delta, eps) and r.mean_slack > 0]
        parts = [(name, usual(rows)) for name, rows in (("captures", self.real), ("generators", self.made), ("all", self.real + self.made))]
        mean = lambda rows: sum(r.sampled for r in rows) / sum(r.sampled / r.mean_slack for r in rows)
        words = ", ".join(f"{mean(rows):.2f} over {name} ({sum(r.sampled for r in rows)} cases)" for name, rows in parts if rows)
        return [f"* Mean slack at eps {eps:g}, delta {delta:g}, scope head: {words}."] if words else []

    def matrix(self, rows, scope):
        """A line for every delta, a column for every eps."""
        lines = [["delta", *(f"eps {e:g}" for e in self.eps)]]
        for delta in self.deltas:
            lines.append([f"{delta:g}"] + [self.cell([r for r in rows if r.key[1:] == (scope, delta, e)]) for e in self.eps])
        return table(lines)

    def cell(self, rows):
        if not rows:
            return "not measured"
        runs = sum(r.runs for r in rows)
        mean = lambda key: sum(getattr(r, key) * r.runs for r in rows) / runs
        failed, again = sum(r.failed for r in rows), sum(r.again for r in rows)
        counts = (f", {again} again" if again else "") + (f", **{failed} failed**" if failed else "")
        short = f" ({runs} runs)" if MISSING in self.conditions else ""
        return f"{percent(max(r.worst for r in rows))}{counts}; {percent(mean('rows'))} / {percent(mean('bytes'))}{short}"

    def matrices(self):
        lines = []
        for title, rows in (("captures", self.real), ("generators", self.made)):
            for scope in dict.fromkeys(r.scope for r in rows):
                lines.append(f"## Scope {scope}, {title}\n\nWorst case in the first stage, %, and how many were drawn again; rows / bytes read, "
                             f"%.\n\n{self.matrix(rows, scope)}\n")
        return "\n".join(lines)

    def usual_setting(self):
        nearest = lambda values, x: min(values, key=lambda v: abs(v - x))
        return nearest(self.eps, 0.05), nearest(self.deltas, 0.05)

    def groups(self):
        eps, delta = self.usual_setting()
        lines = [["captures", "scope", "runs", "cases", "worst, %", "again", "rows, %", "bytes, %", "exact, %", "looks", "slack", "mean"]]
        for r in sorted(self.real + self.made, key=lambda r: r.group == GENERATORS):
            if (r.eps, r.delta) == (eps, delta):
                lines.append([r.group, r.scope, str(r.runs), str(r.cases), percent(r.worst), str(r.again), percent(r.rows),
                              percent(r.bytes), percent(r.exact), f"{r.looks:.1f}", slack_of(r.slack), slack_of(r.mean_slack)])
        return table(lines)

    def usual_run(self):
        """Draws, and cases of a run in scope head."""
        row = (self.real or self.made)[0]
        return row.draws, max(1, row.cases // row.runs)

    def powers(self):
        draws, cases = self.usual_run()
        lines = [["a case", "may miss", "limit 1", "limit 2", "1.5 times", "2 times", "5 times", "50 times"]]
        shares = [("head or call", delta, draws) for delta in self.deltas]
        for row in [r for r in self.real + self.made if r.scope == "token"][:1]:  # of a model of 24 layers with 14 heads
            shares += [("all heads of a call, scope token", 0.05 / 24, row.draws), ("a head, scope token", 0.05 / 24 / 14, row.draws)]
        for name, delta, draws in shares:
            seen = (power(draws, delta, cases, factor * delta) if factor * delta < 1 else 1 for factor in (1.5, 2, 5, 50))
            lines.append([name, f"{delta:.2g}", *map(str, limits(draws, delta, cases)), *(f"{min(p, 1):.2f}" for p in seen)])
        return table(lines)

    def outside_text(self):
        if not self.outside:
            return ""
        lines = [["scope", "delta", "eps", "cases", "failed", "worst, %"]]
        for r in self.outside:
            lines.append([r.scope, f"{r.delta:g}", f"{r.eps:g}", str(r.cases), str(r.failed), percent(r.worst)])
        return ("\n## Outside the promise of this mode\n\nGenerators whose needles neither the code nor a sample can see (`docs/statistics.md`, section 5); "
                f"`sparse-strict` is for these.\n\n{table(lines)}\n")

    def waste(self):
        lines = [f"* {low.group}, scope {low.scope}, delta {low.delta:g}: eps {high.eps:g} read {100 * high.rows:.3g} % of the rows, eps {low.eps:g} {100 * low.rows:.3g} %."
                 for low, high in wasteful(self.rows)]
        return "\n".join(["", "A larger eps should read fewer rows. It did not here, which breaks no promise but wastes bytes:", "", *lines, ""]) if lines else ""

    def text(self):
        eps, delta = self.usual_setting()
        draws, cases = self.usual_run()
        runs = sum(r.runs for r in self.rows)
        return TEXT.format(alarm=1e-6, runs=f"{runs:,}", total_alarm=runs * 1e-6, eps=eps, delta=delta, usual=cases, draws=f"{draws:,}",
                           conditions="; ".join(f"{name} {value}" for name, value in self.conditions.items()) + ".",
                           verdict=self.verdict(), waste=self.waste(), matrices=self.matrices(), groups=self.groups(), powers=self.powers(),
                           outside=self.outside_text())
