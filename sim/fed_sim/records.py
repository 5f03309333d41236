"""Turns a table of records into hospitals: a row is a picture of 16 bits, read as any other.

A column is a pixel: its standardised value, from -8 to 8, in steps of 16 / 65535. What a network sees of it
is a quarter of that value; a pixel without a column is 0, as an empty cell is: the mean. The constants are
the consortium's, agreed in public: from a hospital's own rows, they would be a release about its patients.
"""

# Shape letters: N rows, H x W pixels.

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fed_common.config import ConfigTable, load_config
from fed_common.errors import ConfigError, DataError
from fed_common.names import digest_of
from fed_common.task import Recipe
from fed_sim.collection import Collection, Finding, write_collection
from fed_sim.hospitals import FederationSummary, Provenance
from fed_sim.partition import ConceptShifted, Natural, ScannerShifted, Spread, hold_out
from fed_sim.sources import Row, load_index, sites_of

SIDE = 16
_FARTHEST = 8.0
_WHITE = 65535
# A stored number is its own grey, to the bit.
RECIPE = Recipe(size=SIDE, intensity="fixed", window_centre=_WHITE / 2, window_width=float(_WHITE))


class Constants(ConfigTable):
    """What a column is standardised by: (value - mean) / spread."""

    mean: float
    spread: Annotated[float, Field(gt=0)]


class Columns(ConfigTable):
    """columns.toml: what is learnt of which columns; `values` are the label's cells, class by class."""

    name: str
    label: str
    values: Annotated[tuple[str, ...], Field(min_length=2)]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    positive: str
    patient: str = "patient"
    columns: Annotated[dict[str, Constants], Field(min_length=1, max_length=SIDE * SIDE)]

    @model_validator(mode="after")
    def _each_value_is_a_class(self) -> "Columns":
        if len(self.values) != len(self.classes) or len(set(self.values)) != len(self.values):
            raise ValueError("values must be as many as classes, and differ")
        return self


def import_records(
    table: Path, out: Path, *, columns: Path, spread: Spread, test_fraction: float = 0.2
) -> FederationSummary:
    """Write the rows of a CSV file as hospitals and a public test set of whole patients.

    Without the column of patients, each row counts as one.

    Raises:
        ConfigError: columns.toml says what can't be, or `out` isn't empty.
        DataError: a column is missing, or a cell isn't what it should be.
        MachineError: the disk refuses.
    """
    if isinstance(spread.partition, ScannerShifted | ConceptShifted):
        raise ConfigError("records have no scanner and no brightness; to shift those takes images")
    named = load_config(columns, Columns)
    natural = (spread.partition.column,) if isinstance(spread.partition, Natural) else ()
    rows = load_index(table, (named.label, *natural))
    missing = [column for column in named.columns if column not in rows[0]]
    if missing:
        raise DataError(f"{table}: has no column {', '.join(missing)}")
    if {row[named.label] for row in rows} - set(named.values):
        raise DataError(f"{table}: {named.label} must be one of {', '.join(named.values)}")
    by_row = named.patient not in rows[0]
    patients = [str(number) if by_row else row[named.patient] for number, row in enumerate(rows)]
    if not all(patients):
        raise DataError(f"{table}: a row lacks its {named.patient}")
    collection = Collection(
        name=named.name,
        finding=Finding(classes=named.classes, positive=named.positive),
        images=pictures_of(standardised(rows, named)),
        labels=tuple(named.values.index(row[named.label]) for row in rows),
        patients=tuple(patients),
        test_patients=hold_out(patients, test_fraction, spread),
        site_of=sites_of(patients, [row[natural[0]] for row in rows]) if natural else {},
        recipe=RECIPE,
        model="linear",
    )
    made: Provenance = {
        "source": table.name,
        "sha256": digest_of(table.read_bytes()),
        "columns": columns.name,
        "columns_sha256": digest_of(columns.read_bytes()),
        "patients": "one per row" if by_row else f"the column {named.patient}; none is on two sides",
        "test": f"{test_fraction:g}",
    }
    return write_collection(out, collection, spread=spread, made=made)


def standardised(rows: Sequence[Row], named: Columns) -> NDArray[np.float64]:
    """Return a row for each record, a column for each one named; an empty cell is 0, the mean.

    Raises:
        DataError: a cell isn't a finite number.
    """
    values = np.zeros((len(rows), len(named.columns)))
    for number, row in enumerate(rows):
        for place, (column, constants) in enumerate(named.columns.items()):
            if cell := row[column].strip():
                values[number, place] = (_number(cell, number, column) - constants.mean) / constants.spread
    return values


def pictures_of(values: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return pictures (N, H, W) whose first pixels, row by row, are the values; all others are the mean."""
    pixels = np.zeros((len(values), SIDE * SIDE))
    pixels[:, : values.shape[1]] = np.clip(values, -_FARTHEST, _FARTHEST)
    shares = pixels / (2 * _FARTHEST) + 0.5
    return np.rint(shares * _WHITE).astype(np.uint16).reshape(-1, SIDE, SIDE)


def _number(cell: str, row: int, column: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"row {row}: {column} must be a finite number or empty")
    return number
