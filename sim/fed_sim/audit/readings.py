"""Four figures that tell whether a site keeps a patient's part as small and as hidden as it claims.

1. sensitivity: how far one patient moves what the site noises, in clip norms - exactly, with the noise off;
2. sampling: how often a patient is in a step - exactly, with the noise off;
3. noise: what is in the coordinates that no canary touches, over what the plan asked for;
4. epsilon: how well canaries that are in can be told from those that aren't, against what the site states.

A fault shows in one of them at least; none of them alone finds all.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fed_client.dataset import LabelledImages
from fed_common.audit import CanaryReadings, Reading
from fed_common.messages import PrivacyStatement
from fed_common.plans import DpTerms
from fed_common.randomness import Randomness, SystemRandomness
from fed_sim.audit.asking import ask, train_terms
from fed_sim.audit.bounds import (
    chance_at_most,
    gaussian_epsilon,
    gaussian_mu,
    rate_bounds,
    std_ratio_bounds,
)
from fed_sim.audit.canaries import NUM_CANARIES, noise_only, patients_with, planted_parameters, scores
from fed_sim.audit.hospital import SiteParts

# Shape letters: I canaries, P parameters of the flattened model.

# Of each reading: one honest audit in 3,000 is flagged by chance.
FALSE_ALARM = 1e-4
# Answers are rounded to 2^-32 and sums to a millionth of the noise; gradients are float32.
_ROUNDING = 1e-3

# Everybody is in every step: then the whole is exactly a Gaussian mechanism, with mu = sqrt(steps) / noise.
EXPOSED = DpTerms(noise_multiplier=1.0, clip_norm=1.0, sampling_rate=1.0, steps=2, max_images_per_patient=4)
ROUNDS = 2
ONE_STEP = replace(EXPOSED, steps=1)
_SAMPLED = replace(EXPOSED, sampling_rate=0.25, steps=8)
_NUM_SAMPLED = 512
# One canary in so many has this many images.
_EVERY, _IMAGES = 8, 4


@dataclass(frozen=True)
class WithoutNoise:
    """A site's randomness with the noise left out, so that what was noised can be read exactly."""

    whole: Randomness

    def add_noise(self, exact_N: NDArray[np.floating], *, std: float) -> None:
        """Add none."""

    def poisson_mask(self, count: int, *, rate: float) -> NDArray[np.bool_]:
        """Return the site's own coins."""
        return self.whole.poisson_mask(count, rate=rate)

    def choose(self, count: int, *, most: int) -> NDArray[np.int64]:
        """Return the site's own choice."""
        return self.whole.choose(count, most=most)


def read_canaries(parts: SiteParts) -> tuple[CanaryReadings, PrivacyStatement]:
    """Return the readings of a site made of `parts`, and what it stated in its last answer."""
    quiet = replace(parts, randomness=WithoutNoise(parts.randomness))
    noise, epsilon, claimed = _exposed(parts)
    readings = CanaryReadings(
        sensitivity=_sensitivity(quiet), sampling=_sampling(quiet), noise=noise, epsilon=epsilon
    )
    return readings, claimed


def _sensitivity(quiet: SiteParts) -> Reading:
    """Return the change furthest from one clip norm: every canary's own gradient is far longer than that."""
    with_others = patients_with([2, 5, 8], images_each=[1, 1, 1])
    before_P = _sum_of(quiet, with_others)
    changes = [
        # Beside others, as one image and as several.
        _sum_of(quiet, patients_with([2, 5, 8, 11], images_each=[1, 1, 1, images])) - before_P
        for images in (1, _IMAGES)
    ]
    # Beside its opposite, which is the same image with the other label.
    one_P = _sum_of(quiet, patients_with([2], images_each=[1]))
    opposites = patients_with([2, 2], images_each=[1, _IMAGES], labels=[0, 1])
    changes.append(_sum_of(quiet, opposites) - one_P)
    lengths = [float(np.linalg.norm(change_P)) for change_P in changes]
    return Reading(
        what="sensitivity: how far one patient moves the sum, in clip norms",
        measured=max(lengths, key=lambda length: abs(length - 1)),
        low=1 - _ROUNDING,
        high=1 + _ROUNDING,
        false_alarm=0.0,
    )


def _sum_of(quiet: SiteParts, images: LabelledImages) -> NDArray[np.float64]:
    (told,) = ask(quiet, images, parameters_P=planted_parameters(), terms=train_terms(ONE_STEP))
    return told.sum_P / ONE_STEP.clip_norm


def _sampling(quiet: SiteParts) -> Reading:
    patients = patients_with(range(_NUM_SAMPLED), images_each=[1] * _NUM_SAMPLED)
    (told,) = ask(quiet, patients, parameters_P=planted_parameters(), terms=train_terms(_SAMPLED))
    steps_in_I = scores(told.sum_P)[:_NUM_SAMPLED] / _SAMPLED.clip_norm
    chances = _NUM_SAMPLED * _SAMPLED.steps
    low, high = rate_bounds(chances, _SAMPLED.sampling_rate, FALSE_ALARM)
    return Reading(
        what="sampling: how often a patient is in a step",
        measured=float(np.rint(steps_in_I).sum()) / chances,
        low=low,
        high=high,
        false_alarm=FALSE_ALARM,
    )


def _exposed(parts: SiteParts) -> tuple[Reading, Reading, PrivacyStatement]:
    """Return noise and epsilon of a run in which each canary is by a fair coin."""
    included_I = SystemRandomness().poisson_mask(NUM_CANARIES, rate=0.5)
    numbers = np.flatnonzero(included_I)
    images_each = np.where(numbers % _EVERY == 0, _IMAGES, 1)
    images = patients_with(numbers.tolist(), images_each=images_each.tolist())
    told = list(
        ask(parts, images, parameters_P=planted_parameters(), terms=train_terms(EXPOSED), rounds=ROUNDS)
    )
    sum_P = np.sum([one.sum_P for one in told], axis=0)
    claimed = told[-1].privacy
    return _noise(noise_only(sum_P)), _epsilon(scores(sum_P), included_I, claimed), claimed


def _noise(noise_P: NDArray[np.float64]) -> Reading:
    std = EXPOSED.noise_multiplier * EXPOSED.clip_norm * np.sqrt(EXPOSED.steps * ROUNDS)
    low, high = std_ratio_bounds(noise_P.size, FALSE_ALARM)
    return Reading(
        what="noise: standard deviation over all rounds, measured over claimed",
        measured=float(np.sqrt(np.mean((noise_P / std) ** 2))),
        low=low,
        high=high,
        false_alarm=FALSE_ALARM,
    )


def _epsilon(
    scores_I: NDArray[np.float64], included_I: NDArray[np.bool_], claimed: PrivacyStatement
) -> Reading:
    """Return epsilon's lower bound by a test fixed beforehand: whose score is beyond the middle is in."""
    called_in_I = scores_I > EXPOSED.steps * ROUNDS * EXPOSED.clip_norm / 2
    num_in = int(included_I.sum())
    num_out = included_I.size - num_in
    wrong_in = int((called_in_I & ~included_I).sum())
    wrong_out = int((~called_in_I & included_I).sum())
    mu = gaussian_mu(
        chance_at_most(wrong_in, num_out, FALSE_ALARM / 2), chance_at_most(wrong_out, num_in, FALSE_ALARM / 2)
    )
    return Reading(
        what="epsilon: lower bound by telling canaries apart, at the stated delta",
        measured=gaussian_epsilon(mu, claimed.delta),
        low=0.0,
        high=claimed.epsilon,
        false_alarm=FALSE_ALARM,
    )
