"""The table `[partition]` of a scenario and the options of `fed-sim import` say alike how to deal out."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from fed_common.config import ConfigTable
from fed_common.errors import ConfigError
from fed_sim.partition.kinds import (
    ByPatient,
    ConceptShifted,
    LabelSkewed,
    MissingClasses,
    Natural,
    Partition,
    ScannerShifted,
    SizeSkewed,
    Spread,
)

Kind = Literal["patient", "natural", "label", "size", "missing-classes", "scanner", "concept"]

# What the number of each kind that has one usually is: Dirichlet alpha, largest to smallest size, classes
# that a hospital sees, distance of the last scanner, share of positives that the last calls negative.
_USUAL_SKEW: Mapping[Kind, float] = {
    "label": 0.5,
    "size": 4.0,
    "missing-classes": 1.0,
    "scanner": 1.0,
    "concept": 0.5,
}


class PartitionTable(ConfigTable):
    """How patients are dealt out; `skew` is the kind's only number, `column` the index's column of sites."""

    kind: Kind = "patient"
    sites: Annotated[int, Field(ge=1)] = 3
    skew: float | None = None
    column: str = "site"

    def spread(self, seed: int) -> Spread:
        """Return the partition with a seed.

        Raises:
            ConfigError: `skew` is not allowed.
        """
        partition = partition_of(self.kind, skew=self.skew, column=self.column)
        return Spread(sites=self.sites, partition=partition, seed=seed)


def partition_of(kind: Kind, *, skew: float | None, column: str) -> Partition:
    """Return the partition of this kind; without a `skew`, the usual one.

    Raises:
        ConfigError: `skew` is not allowed.
    """
    if skew is None:
        skew = _USUAL_SKEW.get(kind)
    elif kind not in _USUAL_SKEW:
        raise ConfigError(f'partition "{kind}" has no skew; those that have are {", ".join(_USUAL_SKEW)}')
    match kind, skew:
        case "label", float():
            return LabelSkewed(alpha=skew)
        case "size", float():
            return SizeSkewed(ratio=skew)
        case "missing-classes", float():
            if not skew.is_integer():
                raise ConfigError(f"a hospital sees a whole number of classes, got {skew}")
            return MissingClasses(classes=int(skew))
        case "scanner", float():
            return ScannerShifted(strength=skew)
        case "concept", float():
            return ConceptShifted(share=skew)
        case "natural", _:
            return Natural(column=column)
        case _:
            return ByPatient()
