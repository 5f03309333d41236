"""Names what can make hospitals differ: who and how many come, how they are imaged and read."""

from dataclasses import dataclass

from fed_common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ByPatient:
    """Every patient goes to a hospital by chance; the hospitals are of equal size."""


@dataclass(frozen=True, kw_only=True)
class Natural:
    """Every patient goes where the source says; there are as many hospitals as the source has sites.

    `column` of the index names the site.
    """

    column: str = "site"


@dataclass(frozen=True, kw_only=True)
class LabelSkewed:
    """Each class is dealt out by Dirichlet shares; the smaller `alpha`, the more the hospitals differ.

    Source: Hsu, Qi and Brown 2019, arXiv:1909.06335; here over patients instead of images.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha < float("inf"):
            raise ConfigError(f"alpha must be above 0, got {self.alpha}")


@dataclass(frozen=True, kw_only=True)
class SizeSkewed:
    """The sizes are a geometric row: the last hospital has `ratio` times the patients of the first."""

    ratio: float

    def __post_init__(self) -> None:
        if not 1 <= self.ratio <= 1e6:
            raise ConfigError(f"ratio must be in [1, 1e6], got {self.ratio}")


@dataclass(frozen=True, kw_only=True)
class MissingClasses:
    """Every hospital sees patients of `classes` classes only, and none of the others.

    Source: McMahan et al. 2017, arXiv:1602.05629, section 3, where each client has two digits.
    """

    classes: int

    def __post_init__(self) -> None:
        if not self.classes >= 1:
            raise ConfigError(f"a hospital must see at least 1 class, got {self.classes}")


@dataclass(frozen=True, kw_only=True)
class ScannerShifted:
    """Patients go by chance, but from hospital to hospital the scanner is further from the first's.

    `strength` is how far the last one is: 1 is as bad as can still be read (`scanner_shift`).
    """

    strength: float

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ConfigError(f"strength must be in (0, 1], got {self.strength}")


@dataclass(frozen=True, kw_only=True)
class ConceptShifted:
    """Patients go by chance, but from hospital to hospital readers ask for more to call one positive.

    `share` of the positive patients of the last hospital are called negative there (`concept_shift`).
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"share must be in (0, 1], got {self.share}")


Partition = ByPatient | Natural | LabelSkewed | SizeSkewed | MissingClasses | ScannerShifted | ConceptShifted


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Over how many hospitals patients are dealt out, in which way and from which seed.

    `sites` doesn't count where the source itself names the hospitals.
    """

    sites: int
    partition: Partition = ByPatient()
    seed: int
