"""What the coordinator asks of the sites in one round, and the promises such a plan must keep.

A plan is pure data and the same for every site. Sampling rate, divisor and steps are public constants of
the run: nothing in it may be derived from a site's actual number of patients (privacy rule 2).
"""

from dataclasses import dataclass
from typing import Literal

from fed_common.errors import ConfigError
from fed_common.local_methods import ControlVariates, LocalMethod
from fed_common.names import SiteName, site_name
from fed_common.personal_methods import PersonalMethod

Phase = Literal["statistics", "train", "evaluate"]
UpdateEncoding = Literal["fixed-point", "8-bit"]

# Beyond any hospital and any run; a larger number could only overflow something.
MAX_COUNT = 10**7
MAX_UPDATE_CLIP = 1e4

# As many as `fed_common.views` knows.
MAX_VIEWS = 10


@dataclass(frozen=True, kw_only=True)
class SiteTerms:
    """A site's public constants, fixed at enrolment: its size class is divisor and weight."""

    name: SiteName
    patients: int

    def __post_init__(self) -> None:
        site_name(self.name)
        if not 1 <= self.patients <= MAX_COUNT:
            raise ConfigError(f"site {self.name}: patients must be in [1, {MAX_COUNT}], got {self.patients}")


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Which grey of 0 to 1 a model sees as 0, and how far from it as 1.

    Public constants: taken from a hospital's own images, they would be a release about them.
    """

    mean: float = 0.5
    spread: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.mean <= 1:
            raise ConfigError(f"normalisation's mean must be in [0, 1], got {self.mean}")
        if not 0.01 <= self.spread <= 1:
            raise ConfigError(f"normalisation's spread must be in [0.01, 1], got {self.spread}")


@dataclass(frozen=True, kw_only=True)
class DpTerms:
    """Patient-level DP-SGD of one round.

    `noise_multiplier` is the noise's standard deviation divided by `clip_norm`; `sampling_rate` is each
    patient's chance to be in a step; `steps` are taken whatever the samples turn out to be.
    """

    noise_multiplier: float
    clip_norm: float
    sampling_rate: float
    steps: int
    max_images_per_patient: int

    def __post_init__(self) -> None:
        # Compared so that NaN fails.
        _refuse_noise_beyond_bounds(self.noise_multiplier)
        if not 0 < self.clip_norm < float("inf"):
            raise ConfigError(f"clip_norm must be above 0, got {self.clip_norm}")
        if not 0 < self.sampling_rate <= 1:
            raise ConfigError(f"sampling_rate must be in (0, 1], got {self.sampling_rate}")
        if not self.steps >= 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}")
        if not self.max_images_per_patient >= 1:
            raise ConfigError(f"max_images_per_patient must be at least 1, got {self.max_images_per_patient}")

    @property
    def noise_std(self) -> float:
        """Return the standard deviation of the noise in a step's sum."""
        return self.noise_multiplier * self.clip_norm


@dataclass(frozen=True, kw_only=True)
class TrainTerms:
    """One round of local training: private steps of SGD, then a clip of the whole update.

    `class_weights` are public factors of the images' losses, one per class; none means 1 each. Each image is
    seen in `views` ways (`fed_common.views`), which count as one. A `method` changes the local steps, and
    what is `personal` may take more of them. The clipped update is written in `encoding`.
    """

    phase: Literal["train"] = "train"
    dp: DpTerms
    learning_rate: float
    momentum: float
    update_clip: float
    normalisation: Normalisation = Normalisation()
    class_weights: tuple[float, ...] = ()
    views: int = 1
    method: LocalMethod | None = None
    personal: PersonalMethod | None = None
    encoding: UpdateEncoding = "fixed-point"

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < float("inf"):
            raise ConfigError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum must be in [0, 1), got {self.momentum}")
        if not 0 < self.update_clip <= MAX_UPDATE_CLIP:
            raise ConfigError(f"update_clip must be in (0, {MAX_UPDATE_CLIP:g}], got {self.update_clip}")
        if not all(0.01 <= weight <= 100 for weight in self.class_weights):
            raise ConfigError(f"class_weights must be in [0.01, 100], got {self.class_weights}")
        if not 1 <= self.views <= MAX_VIEWS:
            raise ConfigError(f"views must be in [1, {MAX_VIEWS}], got {self.views}")

    @property
    def private_steps(self) -> int:
        """Return how many private steps a site takes in the round, those of its personal model included."""
        return self.dp.steps + (self.personal.extra_steps(self.dp.steps) if self.personal else 0)

    @property
    def path(self) -> float:
        """Return how far a gradient of 1 in every step would move the weights."""
        return self.dp.steps * self.learning_rate

    @property
    def num_vectors(self) -> int:
        """Return how many vectors come with a plan, each as long as the model, which is the first."""
        return 2 if isinstance(self.method, ControlVariates) else 1


@dataclass(frozen=True, kw_only=True)
class EvaluationTerms:
    """One release of a noised score histogram over a site's validation patients.

    A patient adds 1 to one bin, so `noise_multiplier` is the noise's standard deviation in patients. What is
    measured is the site's `personal` model, if it has one, or what `fine_tuning` makes of the shared one.
    """

    phase: Literal["evaluate"] = "evaluate"
    noise_multiplier: float
    bins: int
    normalisation: Normalisation = Normalisation()
    personal: PersonalMethod | None = None
    fine_tuning: TrainTerms | None = None

    def __post_init__(self) -> None:
        _refuse_noise_beyond_bounds(self.noise_multiplier)
        if not 2 <= self.bins <= 1000:
            raise ConfigError(f"bins must be in [2, 1000], got {self.bins}")
        if self.fine_tuning is not None and (self.fine_tuning.method or self.fine_tuning.personal):
            raise ConfigError("fine-tuning is plain private SGD")


@dataclass(frozen=True, kw_only=True)
class StatisticsTerms:
    """One noised release of how many patients show which of `classes` classes, and which greys, in `bins`.

    `several_labels` tells how a patient is counted by class. A patient changes the released vector by at
    most 1 (`fed_common.statistics`), so `noise_multiplier` is the noise's standard deviation in it.
    """

    phase: Literal["statistics"] = "statistics"
    noise_multiplier: float
    classes: int
    several_labels: bool
    bins: int

    def __post_init__(self) -> None:
        _refuse_noise_beyond_bounds(self.noise_multiplier)
        if not 2 <= self.classes <= 64:
            raise ConfigError(f"classes must be in [2, 64], got {self.classes}")
        if not 2 <= self.bins <= 64:
            raise ConfigError(f"bins must be in [2, 64], got {self.bins}")


Terms = TrainTerms | EvaluationTerms | StatisticsTerms


def _refuse_noise_beyond_bounds(noise_multiplier: float) -> None:
    # The upper bound is that of `accounting.Spend`: more would be a forged, free release.
    if not 0 < noise_multiplier <= 1e4:
        raise ConfigError(f"noise_multiplier must be in (0, 1e4], got {noise_multiplier}")
