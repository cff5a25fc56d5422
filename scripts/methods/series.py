# SPDX-License-Identifier: MIT
"""Which methods the table has, and how each is set to a density: the share of the visible rows that a head uses.

A fixed setting follows from the density alone (topk, window, base). Others have one knob more, which is searched so that the mean
density over all captures is the wanted one: top_p, lsh_l, or eps. One value serves all captures, as it would for a user.
"""
import math
from dataclasses import dataclass, field

SINK, WINDOW = 4, 32
AROUND = [0.01, 0.4, 0.7]           # more for selectors alone, so that curves can be compared at equal bytes
OWN_EPS = [0.4, 0.2, 0.1, 0.05, 0.02]
LARGEST_EPS = 0.999
HALF, PILOT = 0.5, 0.125            # of a density, under the paper's rules: rows of the selector, and the base sample

SELECTORS = ["topk-oracle", "topp-oracle", "quest", "double-sparsity", "pq", "hash", "socket", "magicpig"]
SEEDED = {"pq", "hash", "socket", "magicpig"}  # their index is random
RULES = ["paper-fixed", "paper-d", "paper-sdpa"]
VARIANTS = {                                   # behind a rule: its parameters
    "": (),
    "-shared": (("shared", 1),),                    # heads of a group draw along one order of the rows
    "-scores": (("by_scores", 1), ("shared", 1)),   # rows are drawn by their scores, and pooled
}
ALL_RULES = [rule + variant for variant in VARIANTS for rule in RULES]
ONE_SELECTOR_RULES = ["paper-n", "hub"]        # on topk-oracle only


@dataclass(frozen=True)
class Setting:
    """One row of the table before it is measured."""
    series: str       # as in the table: the method, or the rule
    selector: str     # "" = none
    density: float    # wanted; 0 = none, as for our method at a given eps
    knobs: tuple      # of (name, value), for the reader
    method: str       # of --method
    eps: float = 0.05
    delta: float = 0.05
    rows: tuple = field(default=(), compare=True)  # (parameter, share of a density that is free beside sinks and window)
    params: tuple = ()

    @property
    def random(self):
        return self.series == "uniform" or self.method.startswith(("paper", "hub", "sparse"))

    @property
    def indexed(self):
        return (self.selector or self.method) in SEEDED

    @property
    def shares_rows(self):
        """All heads of a group use the rows of the group."""
        return self.method == "exact" or self.method.startswith("sparse")

    def free(self, n):
        """Rows of a head beside sinks and window."""
        return max(4, round(self.density * n) - SINK - WINDOW)

    def flags(self, n):
        flags = ["--method", self.method, "--eps", f"{self.eps:.6g}", "--delta", f"{self.delta:g}"]
        params = dict(self.params)
        if not self.shares_rows:
            params = {"sink": SINK, "window": WINDOW} | params
        if self.series == "sink-window":
            params["window"] = WINDOW + self.free(n)
        for name, share in self.rows:
            params[name] = max(2, round(share * self.free(n)))
        return flags + [word for key, value in params.items() for word in ("--param", f"{key}={value}")]

    def __str__(self):
        on = f" on {self.selector}" if self.selector else ""
        knobs = ", ".join(f"{k}={v:.4g}" for k, v in self.knobs)
        return f"{self.series}{on}, density {self.density:g}{', ' if knobs else ''}{knobs}"


def alone(name, density):
    rows = {"sink-window": (), "uniform": (("base", 1.0),)}.get(name, (("topk", 1.0),))
    return Setting(name, "", density, (), name, rows=rows)


def with_top_p(density, top_p):
    return Setting("topp-oracle", "", density, (("top_p", top_p),), "topp-oracle", params=(("top_p", f"{top_p:.6g}"),))


def with_tables(density, tables):
    """Codes of 8 bits, as the authors' smaller setting has: with 10 the tables for a density soon read more than the cache."""
    knobs = (("lsh_k", 8), ("lsh_l", max(2, round(tables))))
    return Setting("magicpig", "", density, knobs, "magicpig", params=knobs)


def plain(rule):
    return rule.removesuffix(variant(rule))


def variant(rule):
    return next((v for v in VARIANTS if v and rule.endswith(v)), "")


def on_selector(rule, selector, density, eps, own):
    """own: parameters of the selector."""
    params = (("selector", selector), *own, *VARIANTS[variant(rule)])
    if plain(rule) == "paper-fixed":  # an eps at which paper-d asks for its pilot and no more
        return Setting(rule, selector, density, (), "paper-d", LARGEST_EPS, 0.5, (("topk", HALF), ("base", 1 - HALF)), params)
    return Setting(rule, selector, density, (("eps", eps),), plain(rule), eps, 0.05, (("topk", HALF), ("base", PILOT)), params)


def everything():
    return Setting("exact", "", 0.0, (), "exact")


def ours(name, eps, density=0.0):
    return Setting(name, "", density, (("eps", eps),), name, eps)


# ---------------------------------------------------------------------------------------------------------------- searches

SCALES = {  # a knob on a scale on which densities are nearly straight: there, back, where it begins, ends, and is tried first
    "eps": (lambda x: -math.log(x), lambda t: math.exp(-t), LARGEST_EPS, 0.0003, 0.1),
    "top_p": (lambda p: math.log(p / (1 - p)), lambda t: 1 / (1 + math.exp(-t)), 0.02, 0.99999, 0.9),
    "tables": (math.log, math.exp, 4, 3000, 60),
}
CLOSE, MOST_STEPS, USUAL_STEPS = 0.03, 14, 4


class Search:
    """For the point of a scale where the logarithm of the density is a given one. Densities grow along the scale, not quite smoothly."""

    def __init__(self, knob, excess, start=None):
        self.there, self.back, *ends, usual = SCALES[knob]
        self.low, self.high, start = self.there(ends[0]), self.there(ends[1]), self.there(start or usual)
        self.excess, self.seen = excess, {}
        self.left = self.right = None
        self.look(start)

    def look(self, t):
        """Narrow the bracket by the point t; true if it moved the end that the point before moved."""
        self.seen[t] = self.excess(self.back(t))
        side, self.left, self.right = ("left", t, self.right) if self.seen[t] < 0 else ("right", self.left, t)
        again, self.side = len(self.seen) > 1 and side == self.side, side
        return again

    def walk(self):
        """Ever longer steps until the density lies between two points, or at an end of the scale."""
        step = 1.0
        while (self.left is None or self.right is None) and not self.close():
            t = max(self.low, self.right - step) if self.left is None else min(self.high, self.left + step)
            if t in self.seen:
                return
            self.look(t)
            step *= 2

    def narrow(self):
        again = False
        while not self.close() and len(self.seen) < MOST_STEPS:
            left, right = self.left, self.right
            share = 0.5 if again else self.seen[left] / (self.seen[left] - self.seen[right])
            again = self.look(left + min(max(share, 0.1), 0.9) * (right - left)) and not again

    def close(self):
        return abs(self.seen[self.best()]) <= CLOSE

    def best(self):
        return min(self.seen, key=lambda t: abs(self.seen[t]))

    def run(self):
        self.walk()
        if self.left is not None and self.right is not None:
            self.narrow()
        return self.back(self.best())


def search(laboratory, knob, make, density, start=None):
    """The setting make(x) whose mean density is the wanted one, within 3 %, or as near as it comes; x = start is tried first."""
    progress = laboratory.progress
    progress.total += USUAL_STEPS
    before = progress.done
    found = Search(knob, lambda x: math.log(laboratory.density(make(x)) / density), start).run()
    progress.total += progress.done - before - USUAL_STEPS
    return make(found)


def settings_of(laboratory, wanted, densities):
    """Functions that find the settings, one after another; `wanted` limits series to those names, or is empty."""
    take = lambda name: not wanted or name in wanted
    if take("exact"):
        yield everything
    for name in filter(take, ["sink-window", "uniform", *SELECTORS]):
        for density in sorted(densities + AROUND):
            yield lambda n=name, d=density: selector_at(laboratory, n, d)
    found = {}  # eps by rule and density: on the next selector it is nearly the same
    for rule in ALL_RULES + ONE_SELECTOR_RULES:
        for selector in SELECTORS if rule in ALL_RULES else SELECTORS[:1]:
            for density in densities if take(rule) and take(selector) else []:
                yield lambda r=rule, s=selector, d=density: rule_at(laboratory, r, s, d, found)
    for name in ["sparse", "sparse-strict"]:
        if take(name) and laboratory.serves(name):
            for density in densities:
                yield lambda n=name, d=density: search(laboratory, "eps", lambda eps: ours(n, eps, d), d)
            for eps in OWN_EPS:
                yield lambda n=name, e=eps: ours(n, e)


def selector_at(laboratory, name, density):
    if name == "topp-oracle":
        return search(laboratory, "top_p", lambda p: with_top_p(density, p), density)
    if name == "magicpig":
        return search(laboratory, "tables", lambda x: with_tables(density, x), density)
    return alone(name, density)


def rule_at(laboratory, rule, selector, density, found):
    """found: [rule, density] -> the eps that was the right one on the selector before, [rule, selector, density] -> the right one."""
    own = own_of(laboratory, selector, HALF * density + (1 - HALF) * least_density(laboratory))
    if plain(rule) == "paper-fixed":
        return on_selector(rule, selector, density, 1.0, own)
    start = found.get((plain(rule), selector, density)) or found.get((rule, density))
    setting = search(laboratory, "eps", lambda eps: on_selector(rule, selector, density, eps, own), density, start)
    found[rule, density] = found[rule, selector, density] = setting.eps
    return setting


def own_of(laboratory, selector, half):
    """Parameters with which the selector alone has this density, where topk does not say it all."""
    if selector == "topp-oracle":
        return search(laboratory, "top_p", lambda p: with_top_p(half, p), half).params
    if selector == "magicpig":
        return search(laboratory, "tables", lambda x: with_tables(half, x), half).params
    return ()


def least_density(laboratory):
    """Sinks and window alone."""
    return sum((SINK + WINDOW) / c.n[-1] for c in laboratory.captures) / len(laboratory.captures)


def expected(wanted, densities):
    """How many settings there are, nearly, for the first estimate of the time left."""
    take = lambda name: not wanted or name in wanted
    alone_count = sum(take(name) for name in ["sink-window", "uniform", *SELECTORS]) * len(set(densities + AROUND))
    pairs = sum(not wanted or name in wanted for name in SELECTORS) * sum(map(take, ALL_RULES))
    promised = take("sparse") + take("sparse-strict")
    return take("exact") + alone_count + (pairs + sum(map(take, ONE_SELECTOR_RULES)) + promised) * len(densities) + promised * len(OWN_EPS)
