"""What noised counts of scores say about a model, with intervals that hold the noise and the sampling alike.

The intervals come from a parametric bootstrap: the patients are drawn anew from the counts as estimated, the
noise is drawn anew as it was added, and how far the figures move then is how uncertain they are.
"""

# Letters: B score bins, E edges of them, G groups of them, R redrawn histograms (1 for the released one),
# S sums that are tried.

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fed_common import seeds
from fed_common.metrics import Z_95, Estimate, EvaluationCounts

Figures = NDArray[np.float64]

# One operating point for all sites, so that their figures can be compared.
AT_SPECIFICITY = 0.9
AT_SENSITIVITY = 0.9

# As many groups of the reliability curve as some hundred patients can fill.
_GROUPS = 5

_REDRAWN = 400

# A figure that may be a quarter higher or lower says nothing.
_WIDEST = 0.25


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """The patients with scores in one fifth of the scale: their mean score, and which share is positive."""

    score: float
    positive: Estimate


@dataclass(frozen=True, kw_only=True)
class NoisedFigures:
    """Figures of one site or of all together, None where they would be uncertain by more than a quarter.

    `accuracy` is at a score of one half. `calibration_gap` is the mean score minus the prevalence, and
    `calibration_error` the expected calibration error over the groups of `reliability`, which leaves out
    those that the noise hides.
    """

    auc: Estimate | None = None
    accuracy: Estimate | None = None
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None
    calibration_gap: Estimate | None = None
    calibration_error: Estimate | None = None
    reliability: tuple[Reliability, ...] = ()


class _Drawn(NamedTuple):
    """All figures of R histograms at once; `part_RG` is what each group adds to the calibration gap."""

    auc_R: Figures
    accuracy_R: Figures
    sensitivity_R: Figures
    specificity_R: Figures
    gap_R: Figures
    part_RG: Figures
    share_RG: Figures
    score_RG: Figures
    patients_RG: Figures


def noised_figures(counts: EvaluationCounts) -> NoisedFigures:
    """Return the figures; none where the noise hides whether there are patients of both truths."""
    if not counts.show_patients():
        return NoisedFigures()
    found = _figures(counts.negatives_B[None], counts.positives_B[None])
    rng = seeds.stream(0, "noised figures")
    redrawn = _figures(
        *(
            counts.noised(rng.poisson(_possible(part_B), (_REDRAWN, len(part_B))).astype(np.float64), rng)
            for part_B in (counts.negatives_B, counts.positives_B)
        )
    )
    return NoisedFigures(
        auc=_estimate(found.auc_R[0], redrawn.auc_R),
        accuracy=_estimate(found.accuracy_R[0], redrawn.accuracy_R),
        sensitivity=_estimate(found.sensitivity_R[0], redrawn.sensitivity_R),
        specificity=_estimate(found.specificity_R[0], redrawn.specificity_R),
        calibration_gap=_estimate(found.gap_R[0], redrawn.gap_R, lowest=-1.0),
        calibration_error=_sum_of_sizes(found.part_RG[0], redrawn.part_RG.std(axis=0)),
        reliability=tuple(
            Reliability(score=float(found.score_RG[0, group]), positive=positive)
            for group in range(_GROUPS)
            if found.patients_RG[0, group] >= max(1.0, 2 * redrawn.patients_RG[:, group].std())
            if (positive := _estimate(found.share_RG[0, group], redrawn.share_RG[:, group]))
        ),
    )


def _figures(negatives_RB: Figures, positives_RB: Figures) -> _Drawn:
    bins = negatives_RB.shape[1]
    scores_B = (np.arange(bins) + 0.5) / bins
    num_negatives_R1 = np.maximum(negatives_RB.sum(axis=1, keepdims=True), 1.0)
    num_positives_R1 = np.maximum(positives_RB.sum(axis=1, keepdims=True), 1.0)
    total_R = (num_negatives_R1 + num_positives_R1)[:, 0]
    # Ties within a bin count one half.
    below_RB = (np.cumsum(negatives_RB, axis=1) - negatives_RB / 2) / num_negatives_R1
    right_R = negatives_RB[:, : bins // 2].sum(axis=1) + positives_RB[:, bins // 2 :].sum(axis=1)
    both_RB = negatives_RB + positives_RB
    score_sums_RG, patients_RG, positives_RG = (
        _grouped(cells_RB) for cells_RB in (both_RB * scores_B, both_RB, positives_RB)
    )
    least_RG = np.maximum(patients_RG, 1.0)
    true_negatives, false_negatives = _shares_below(negatives_RB), _shares_below(positives_RB)
    return _Drawn(
        auc_R=(below_RB * positives_RB).sum(axis=1) / num_positives_R1[:, 0],
        accuracy_R=right_R / total_R,
        sensitivity_R=1 - _read_across(true_negatives, AT_SPECIFICITY, false_negatives),
        specificity_R=_read_across(false_negatives, 1 - AT_SENSITIVITY, true_negatives),
        gap_R=(both_RB @ scores_B - positives_RB.sum(axis=1)) / total_R,
        part_RG=(score_sums_RG - positives_RG) / total_R[:, None],
        share_RG=np.clip(positives_RG / least_RG, 0.0, 1.0),
        score_RG=np.clip(score_sums_RG / least_RG, 0.0, 1.0),
        patients_RG=patients_RG,
    )


def _grouped(cells_RB: Figures) -> Figures:
    return np.stack([part.sum(axis=1) for part in np.array_split(cells_RB, _GROUPS, axis=1)], axis=1)


def _possible(cells_B: Figures) -> Figures:
    """Return counts that patients can have: none is negative, and their running sums are close."""
    possible_B: Figures = np.diff(_shares_below(cells_B[None])[0]) * max(float(cells_B.sum()), 1.0)
    return possible_B


def _shares_below(cells_RB: Figures) -> Figures:
    """Return the share of a class below each of the B + 1 edges, made to rise from 0 to 1.

    Where noise lets the share fall, it becomes the mean of what lies below and above the dip.
    """
    total_R1 = np.maximum(cells_RB.sum(axis=1, keepdims=True), 1.0)
    shares_RB = np.clip(np.cumsum(cells_RB, axis=1) / total_R1, 0.0, 1.0)
    shares_RB[:, -1] = 1.0
    from_below_RB = np.maximum.accumulate(shares_RB, axis=1)
    from_above_RB = np.minimum.accumulate(shares_RB[:, ::-1], axis=1)[:, ::-1]
    return np.pad((from_below_RB + from_above_RB) / 2, ((0, 0), (1, 0)))


def _read_across(from_RE: Figures, share: float, to_RE: Figures) -> Figures:
    """Return the one class's share below the score below which `share` of the other lies."""
    edges_E = np.arange(from_RE.shape[1], dtype=np.float64)
    rising_RE = from_RE + 1e-9 * edges_E  # a share that rests has no inverse
    return np.array(
        [
            np.interp(np.interp(share, rising_E, edges_E), edges_E, to_E)
            for rising_E, to_E in zip(rising_RE, to_RE, strict=True)
        ]
    )


def _estimate(value: float, redrawn_R: Figures, *, lowest: float = 0.0) -> Estimate | None:
    half = Z_95 * float(redrawn_R.std())
    if not half <= _WIDEST:
        return None
    value = min(max(float(value), lowest), 1.0)
    return Estimate(value=value, low=max(lowest, value - half), high=min(1.0, value + half))


def _sum_of_sizes(parts_G: Figures, stds_G: Figures) -> Estimate | None:
    """Return the sum of the sizes of parts that were measured with Gaussian errors.

    Errors only ever make sizes larger. So of all sums S it is held against what was found, how much would be
    found of S, were it dealt out as the found parts are: sizes of Gaussians, whose mean and variance are
    known. The estimate is the S that gives what was found on average, the interval all that may well do.
    """
    # Here, because it takes a third of a second to import, and most commands tell no figures.
    from scipy.special import ndtr  # noqa: PLC0415

    found = float(np.abs(parts_G).sum())
    sums_S = np.linspace(0, 1, 1001)
    means_SG = sums_S[:, None] * (np.abs(parts_G) / max(found, 1e-12))
    stds_G = np.maximum(stds_G, 1e-12)
    ratios_SG = means_SG / stds_G
    sizes_SG = stds_G * np.sqrt(2 / np.pi) * np.exp(-(ratios_SG**2) / 2) + means_SG * (
        2 * ndtr(ratios_SG) - 1
    )
    expected_S = sizes_SG.sum(axis=1)
    reach_S = Z_95 * np.sqrt(np.maximum(means_SG**2 + stds_G**2 - sizes_SG**2, 0).sum(axis=1))
    possible_S = sums_S[np.abs(expected_S - found) <= reach_S]
    value = float(sums_S[np.argmin(np.abs(expected_S - found))])
    low, high = (float(possible_S[0]), float(possible_S[-1])) if len(possible_S) else (0.0, value)
    return Estimate(value=value, low=low, high=high) if high - low <= 2 * _WIDEST else None
