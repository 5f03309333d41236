"""What an audit of the privacy code found, and why a model was let go: both end in its manifest."""

import math
import platform
from dataclasses import dataclass, fields
from importlib.metadata import version as version_of
from typing import Literal

from fed_common.errors import ConfigError, PrivacyError
from fed_common.messages import PrivacyStatement
from fed_common.metrics import Estimate
from fed_common.names import Digest
from fed_common.plans import DpTerms

# What noise, gradients and epsilon are computed with.
_LIBRARIES = ("torch", "opacus", "numpy", "dp-accounting", "cryptography")


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library as it was installed where the audit ran."""

    name: str
    version: str


def installed_libraries() -> tuple[Library, ...]:
    """Return Python and the libraries that privacy rests on, with their versions."""
    libraries = (Library(name=name, version=version_of(name)) for name in _LIBRARIES)
    return (Library(name="python", version=platform.python_version()), *libraries)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One figure, and the bounds that an honest site's figure leaves in `false_alarm` of the audits."""

    what: str
    measured: float
    low: float
    high: float
    false_alarm: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.measured, self.low, self.high, self.false_alarm))):
            raise PrivacyError(f"{self.what}: measured {self.measured}, which is no figure to judge by")

    @property
    def holds(self) -> bool:
        """Tell whether the figure is within its bounds."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What an attack finds out, with privacy on and off, and the most that the claim allows."""

    what: str
    protected: Estimate
    unprotected: Estimate
    limit: float

    @property
    def holds(self) -> bool:
        """Tell whether privacy keeps the attack within the limit, and the attack is one without privacy."""
        return self.protected.low <= self.limit < self.unprotected.low


@dataclass(frozen=True, kw_only=True)
class CanaryReadings:
    """What canaries in a site's data told about the path from images to answer."""

    sensitivity: Reading
    sampling: Reading
    noise: Reading
    epsilon: Reading


@dataclass(frozen=True, kw_only=True)
class AuditVerdict:
    """The figures of one audit of one code; `claimed` is what the audited site stated in its last answer."""

    version: Literal[1] = 1
    date: str
    code: Digest
    libraries: tuple[Library, ...]
    model: str
    terms: DpTerms
    rounds: int
    canaries: int
    claimed: PrivacyStatement
    readings: CanaryReadings
    attacks: tuple[Attack, ...]

    @property
    def all_readings(self) -> tuple[Reading, ...]:
        """Return the figures that canaries told, in order."""
        return tuple(getattr(self.readings, field.name) for field in fields(self.readings))

    @property
    def failed(self) -> tuple[str, ...]:
        """Return what is out of its bounds."""
        figures: tuple[Reading | Attack, ...] = (*self.all_readings, *self.attacks)
        return tuple(figure.what for figure in figures if not figure.holds)


@dataclass(frozen=True, kw_only=True)
class Release:
    """Why a model was let go: a passed audit of the code that made it, or a reason to go without one."""

    audit: AuditVerdict | None
    without_audit: str

    def __post_init__(self) -> None:
        if (self.audit is None) == (not self.without_audit.strip()):
            raise ConfigError("a release needs either an audit or a reason to go without one")
        if self.audit is not None and self.audit.failed:
            raise PrivacyError(f"the audit didn't pass: {'; '.join(self.audit.failed)}")
