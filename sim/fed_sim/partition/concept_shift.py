"""Lets hospitals mean different things by one word: what a stricter reader calls negative isn't noise.

A patient is called positive only if the picture is bright enough for that hospital. The rule is a function of
the picture alone, so that each hospital's labels can be learnt, but no one model fits all hospitals: p(y|x)
differs, p(x) doesn't ("concept shift" in Kairouz et al. 2021, arXiv:1912.04977, section 3.1).
"""

from collections.abc import Mapping, Sequence

import numpy as np


def called_negative(
    positives: Sequence[str], brightness: Mapping[str, float], *, index: int, sites: int, share: float
) -> frozenset[str]:
    """Return which positive patients hospital `index` calls negative: the darkest, at the first nobody.

    From hospital to hospital it is more of them, up to `share` at the last.
    """
    strictness = share * index / max(sites - 1, 1)
    darkest = sorted(positives, key=lambda patient: (brightness[patient], patient))
    return frozenset(darkest[: round(strictness * len(darkest))])


def brightness_of(patients: Sequence[str], greys_N: Sequence[float]) -> Mapping[str, float]:
    """Return each patient's mean grey over all pictures, of which each comes with its patient."""
    of_patient: dict[str, list[float]] = {}
    for patient, grey in zip(patients, greys_N, strict=True):
        of_patient.setdefault(patient, []).append(grey)
    return {patient: float(np.mean(greys)) for patient, greys in of_patient.items()}
