"""The arithmetic of an audit: how far chance alone may carry an honest site's figures."""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, binom, chi2, norm


def std_ratio_bounds(count: int, false_alarm: float) -> tuple[float, float]:
    """Return within which the measured over the true standard deviation of `count` normal draws is.

    Source: the sum of squares has a chi-squared distribution with `count` degrees of freedom.
    """
    low, high = np.sqrt(chi2.ppf([false_alarm / 2, 1 - false_alarm / 2], count) / count)
    return float(low), float(high)


def rate_bounds(count: int, rate: float, false_alarm: float) -> tuple[float, float]:
    """Return within which the share of `count` independent coins of chance `rate` is."""
    low, high = binom.ppf([false_alarm / 2, 1 - false_alarm / 2], count, rate) / count
    return float(low), float(high)


def chance_at_most(successes: int, count: int, false_alarm: float) -> float:
    """Return what the chance of a success is below, but for `false_alarm` of the times.

    Source: Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the
    Binomial" (1934).
    """
    return 1.0 if successes == count else float(beta.ppf(1 - false_alarm, successes + 1, count - successes))


def gaussian_mu(false_positives: float, false_negatives: float) -> float:
    """Return the least mu of a mu-GDP mechanism that allows a test with these rates of errors.

    It holds for every test of whether somebody is in, whatever the scores' distribution.

    Source: Dong, Roth and Su, "Gaussian Differential Privacy" (2022), equation 6.
    """
    return max(0.0, float(norm.ppf(1 - false_positives) - norm.ppf(false_negatives)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the epsilon of a mu-GDP mechanism.

    Source: Balle and Wang, "Improving the Gaussian Mechanism for Differential Privacy" (2018), theorem 5.
    """

    def excess(epsilon: float) -> float:
        whole = norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon + norm.logcdf(-mu / 2 - epsilon / mu))
        return float(whole - delta)

    if mu == 0 or excess(0.0) <= 0:
        return 0.0
    # Above this epsilon even the first term alone is below delta.
    return float(brentq(excess, 0.0, mu * (mu / 2 - norm.ppf(delta))))
