# SPDX-License-Identifier: MIT
"""The limits of the two-stage test (tools/binomial.h says why), and what the test can see."""
from functools import lru_cache
from math import exp, lgamma, log, log1p

LOOK_AGAIN, FALSE_ALARM, STAGE2 = 0.05, 1e-6, 10


@lru_cache(maxsize=None)
def tail(n, p, limit):
    """Pr(X > limit) for X ~ Binomial(n, p)."""
    if limit < 0:
        return 1.0
    start = lgamma(n + 1)
    terms = (exp(start - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p)) for k in range(limit + 1, n + 1))
    total = 0.0
    for k, term in enumerate(terms, limit + 1):
        total += term
        if k > n * p and term < 1e-18 * total:
            break
    return min(1.0, total)


@lru_cache(maxsize=None)
def least(n, p, alpha):
    """The least L with tail(n, p, L) <= alpha."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tail(n, p, middle) <= alpha else (middle, high)
    return high


def limits(draws, delta, cases):
    """Misses that the stages allow, of a run that judges so many cases."""
    return least(draws, delta, LOOK_AGAIN), least(STAGE2 * draws, delta, FALSE_ALARM / cases)


def power(draws, delta, cases, rate):
    """How likely the test finds a case that misses at that rate."""
    first, second = limits(draws, delta, cases)
    return tail(draws, rate, first) * tail(STAGE2 * draws, rate, second)
