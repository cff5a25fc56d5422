# SPDX-License-Identifier: MIT
"""docs/results/methods.md, a function of the CSV file alone."""
import math

from .claim import Curves
from .csvfile import percent, table
from .series import VARIANTS, variant
from .table import ALL

TEXT = """# Error against bytes: every method

Made by `make methods` (`scripts/methods-table.py`) from `methods.csv` beside it, which has every row, for every capture; numbers here are those
of all captures together. What the methods are: `docs/methods.md`.

## How to read it

* **Error** is ||o^ - o|| / ||o|| of one query head in one step and one draw, o in double precision by other code than the library's. Mean, 95 %
  quantile and the share above 5 % are over all heads, steps, draws and captures; *worst head* is the largest mean of one head.
* **Density** is the share of the visible rows that one query head uses, sinks and window included. Methods are set to it by `topk`, `window` or
  `base`; `top_p`, `lsh_l` and `eps` are searched, one value for all captures. A density marked ~ is as near as the method comes.
* **Rows read** are those of a KV head: heads of a group that choose different rows read the union (3 and 7 heads to a KV head here). `sparse`
  decides for the group, so its two numbers are the same.
* **Bytes read** is the honest price: K and V of those rows, keys read for their score alone, and what was read of the index, over the
  bytes of all visible K and V. The oracles look at every key, which is half of everything.
* `paper-fixed` is half the free rows by the selector and half by a sample without replacement, nothing adaptive: vAttention's estimator
  alone. `paper-d` and `paper-sdpa` have half by the selector, a base sample of an eighth, and as much more as their eps asks for. On top-p and
  MagicPIG, which `topk` does not set, that half is what they choose by themselves at half the density (`top_p`, `lsh_l`). Only `sparse`
  states an error for each head and falls back where it cannot; the others' eps here is a knob that was turned until the density was met.

Conditions: {conditions}

## What it shows

{findings}

![mean error against bytes read](methods-error.svg)

![share of errors above 5 % against bytes read](methods-above.svg)

Zero is drawn at the lower edge; `sparse` is black, at eps = .4, .2, .1, .05 and .02, in every panel.

## Is vAttention on a selector better than the selector alone?

Error of the rule over error of the selector *at equal bytes* (the selector's curve is interpolated; below 1 the claim holds), for densities
{densities}. In brackets for how many of the {inputs} captures it holds, of how many if not all can be compared; a dash: the rule read more, or
less, than the selector ever did, or was not measured. Rules draw for every head apart, as the paper's code does, so that the samples of a group's heads hardly share
a row; the rows of a selector do. With `-shared` behind their names the heads of a group draw along one random order of the rows (`shared=1`): every head's sample has the
law that it has alone, and what one head reads serves the others. With `-scores` (`by_scores=1`, `shared=1`) rows are drawn in proportion to 1 / (rows chosen for certain +
rank by the selector's score), by one random number for a row and group, and every head uses all rows that its group read (`docs/methods.md`). Half by the selector is about the paper's own setting for these densities (40 to 50 %).
`hub` and `paper-n` are in the tables of densities, on exact scores only.

{equal_bytes}

The same *at equal rows of a head*, the paper's own account, in which rows that heads of a group do not share cost nothing and the index is free
(rules with `-scores` are not compared: their heads also use the rows of others):

{equal_rows}

Share of outputs with an error above 5 %, in per cent, at equal bytes: the selector alone, then with the rule.

{misses}

{density_tables}
## sparse by eps

It promises that at most 5 % of the draws of any head are beyond its eps, which the last column shows for eps = .05 alone; the test of that, head by
head, is in `docs/statistics.md`.

{ours}
"""


def short(value):
    return f"{value:.2g}" if value < 0.995 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def names(densities):
    return ", ".join(f"{100 * d:g}" for d in densities) + " %"


HEADER = ["method", "on", "set by", "a head's rows, %", "rows read, %", "bytes read, %", "error, mean", "95 %", "worst head",
          "above 5 %, %"]


def cells(row):
    near = "" if not row.density or abs(math.log(row.head / row.density)) < 0.1 else "~"
    return [row.method, row.on or "-", row.knobs or "-", near + percent(row.head), percent(row.rows), percent(row.bytes),
            *(f"{x:.2g}" for x in (row.error_mean, row.error_q95, row.error_worst)), percent(row.above)]


class Report:
    def __init__(self, conditions, rows):
        self.conditions, self.whole = conditions, [r for r in rows if r.input == ALL]
        self.curves = Curves(rows)
        self.rules = [m for m in dict.fromkeys(r.method for r in self.whole if r.on) if m not in ("hub", "paper-n")]
        self.selectors = list(dict.fromkeys(r.on for r in self.whole if r.on))
        self.densities = sorted({r.density for r in self.whole if r.on})
        if not self.densities:
            self.densities = sorted({r.density for r in self.whole if r.density})

    def claim(self, form, measure, variants=tuple(VARIANTS)):
        """One table of the rules whose heads draw apart, one of those that share, one of those that draw by scores."""
        parts = [[r for r in self.rules if variant(r) == v] for v in variants]
        return "\n\n".join(self.claim_of(rules, form, measure) for rules in parts if rules) or "No rules were measured."

    def claim_of(self, rules, form, measure):
        rows = [["selector", *rules]]
        for selector in self.selectors:
            row = [selector]
            for rule in rules:
                row.append(" / ".join(form(self.curves.compare(rule, selector, d, measure)) for d in self.densities))
            rows.append(row)
        return table(rows)

    def density_table(self, density):
        rows = sorted((r for r in self.whole if r.density == density), key=lambda r: r.error_mean)
        return f"## Density {100 * density:g} %, least mean error first\n\n{table([HEADER] + [cells(r) for r in rows])}\n"

    def findings(self):
        return "\n".join(f"* {line}" for line in [*self.of_claims(), *self.of_ours()]) or "* Too few methods were measured."

    def of_claims(self):
        """What the tables of the claim add up to, and the shorter of: where it holds, where it does not."""
        for measure, words in (("bytes", "At equal bytes"), ("head", "At equal rows of a head")):
            for rule in (r for r in self.rules if measure == "bytes" or variant(r) != "-scores"):
                cases = [(self.curves.compare(rule, s, d, measure).ratio, s, d) for s in self.selectors for d in self.densities]
                holds, fails = [c[1:] for c in cases if c[0] < 1], [c[1:] for c in cases if c[0] >= 1]
                where = f"; not for {listed(fails)}" if 0 < len(fails) < len(holds) else f": {listed(holds)}" if holds and fails else ""
                yield (f"{words} `{rule}` has a smaller mean error than its selector alone in {len(holds)} of "
                       f"{len(holds) + len(fails)} cases (selector and density){where}.")

    def of_ours(self):
        for row in self.whole:
            if not row.method.startswith("sparse") or row.density or row.knobs not in ("eps=0.05", "eps=0.2"):
                continue
            alone = [r for r in self.whole if not r.on and not r.method.startswith("sparse") and r.bytes <= row.bytes]
            best = min(alone, key=lambda r: r.error_mean, default=None)
            rival = (f"; the least error of a method alone with no more bytes is {best.error_mean:.2g} ({best.method}, "
                     f"{percent(best.bytes)} %)" if best else "")
            yield (f"`{row.method}` at {row.knobs} reads {percent(row.bytes)} % of the bytes for a mean error of {row.error_mean:.2g} "
                   f"and {percent(row.above)} % above 5 %{rival}.")

    def text(self):
        def ratio(c):
            of = "" if c.compared == len(self.curves.inputs) else f" of {c.compared}"
            return "-" if math.isnan(c.ratio) else f"{short(c.ratio)} ({c.better}{of})"

        def misses(c):
            return "-" if math.isnan(c.above[0]) else f"{100 * c.above[0]:.2g} → {100 * c.above[1]:.2g}"

        ours = [HEADER] + [cells(r) for r in self.whole if not r.density]
        return TEXT.format(
            conditions="; ".join(f"{name} {value}" for name, value in self.conditions.items()) + ".",
            findings=self.findings(), densities=names(self.densities),
            inputs=len(self.curves.inputs),
            equal_bytes=self.claim(ratio, "bytes"), equal_rows=self.claim(ratio, "head", ["", "-shared"]), misses=self.claim(misses, "bytes"),
            density_tables="\n".join(map(self.density_table, self.densities)),
            ours=table(ours) if len(ours) > 1 else "Not measured.")


def listed(cases):
    """Selectors with their densities: a at 2, 5 %, b at 10 %."""
    by = {}
    for selector, density in cases:
        by.setdefault(selector, []).append(density)
    return ", ".join(f"{selector} at {names(densities)}" for selector, densities in by.items())
