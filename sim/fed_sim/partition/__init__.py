"""The ways in which one collection becomes several hospitals, from even to as uneven as in life."""

from fed_sim.partition.dealing import divide, hold_out
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

__all__ = [
    "ByPatient",
    "ConceptShifted",
    "LabelSkewed",
    "MissingClasses",
    "Natural",
    "Partition",
    "ScannerShifted",
    "SizeSkewed",
    "Spread",
    "divide",
    "hold_out",
]
