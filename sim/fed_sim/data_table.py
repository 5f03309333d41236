"""The table `[data]` of a scenario: which images its hospitals have."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fed_common.config import ConfigTable


class DataTable(ConfigTable):
    """Which images are dealt out; without a `source`, phantoms are drawn.

    `source` is a MedMNIST file or, with an `index`, an .npz file with `images`, or a folder or .zip file of
    pictures, or, with `columns`, a table; all are relative to the folder of all collections. `classes` leaves
    the other classes of pictures out. `test_fraction` of the patients are the public test set; hospitals need
    none of their own, but can hold out `site_test_fraction` of theirs. `sizes` and `test_patients` are the
    phantoms'.
    """

    source: Path | None = None
    index: Path | None = None
    columns: Path | None = None
    label: str = "label"
    patient: str = "patient"
    classes: tuple[str, ...] = ()
    colour: bool = False
    test_fraction: float = 0.2
    test_split: str = ""
    site_test_fraction: float = 0.0
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = ()
    test_patients: Annotated[int, Field(ge=1)] = 600
