"""Deals patients to training, validation and test: each by their own pseudonym, whoever else is there.

Nobody changes sides when patients are added or leave, and no image of a patient is on another side.
"""

from dataclasses import dataclass

from fed_client.dataset.table import SIDES, SideName
from fed_client.deidentification import Pseudonym, keyed_digest
from fed_common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Fractions:
    """The expected shares of patients that are held out; the rest is trained on."""

    validation: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        for name, share in (("validation_fraction", self.validation), ("test_fraction", self.test)):
            if not 0 <= share < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {share}")
        if not self.validation + self.test < 1:
            raise ConfigError(
                f"validation_fraction and test_fraction must leave patients to train on, "
                f"got {self.validation} and {self.test}"
            )


def side_of(patient: Pseudonym, fractions: Fractions, key: bytes) -> int:
    """Return the place in `SIDES` of a patient's side; it says nothing about the pseudonym."""
    place = int(keyed_digest(key, "split", patient)[:13], base=16) / 16**13
    side: SideName = "train"
    if place < fractions.validation:
        side = "validation"
    elif place >= 1 - fractions.test:
        side = "test"
    return SIDES.index(side)
