"""Makes the hospitals that a scenario asks for: phantoms, or a public collection that is dealt out."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fed_common.errors import ConfigError, DataError
from fed_sim.data_table import DataTable
from fed_sim.hospitals import FederationSummary
from fed_sim.imports import ArraySource, import_array, import_medmnist
from fed_sim.partition import ByPatient, Spread
from fed_sim.phantoms import write_phantoms
from fed_sim.pictures import PictureSource, import_pictures
from fed_sim.records import import_records


def make_hospitals(data: DataTable, out: Path, *, collections: Path, spread: Spread) -> FederationSummary:
    """Write the hospitals into the new folder `out`.

    Raises:
        DataError: a collection is missing or broken, or doesn't allow the partition.
        ConfigError: the tables ask for what can't be, or `out` isn't empty.
        MachineError: the disk refuses.
    """
    if data.source is None:
        if spread.partition != ByPatient():
            raise ConfigError("phantoms differ by their scanners; to deal them out otherwise takes a source")
        return write_phantoms(
            out,
            sites=spread.sites,
            seed=spread.seed,
            patients=data.sizes,
            test_patients=data.test_patients,
        )
    source = collections / data.source
    if data.columns is not None:
        return import_records(
            source,
            out,
            columns=collections / data.columns,
            spread=spread,
            test_fraction=data.test_fraction,
        )
    if data.index is None:
        if source.suffix != ".npz":
            raise ConfigError("pictures need an index, with the columns file and label")
        return import_medmnist(source, out, spread=spread)
    index = collections / data.index
    if source.suffix == ".npz":
        array = ArraySource(
            images=source,
            index=index,
            label_column=data.label,
            patient_column=data.patient,
            test_split=data.test_split,
        )
        return import_array(array, out, spread=spread, test_fraction=data.test_fraction)
    with _unpacked(source) as folder:
        pictures = PictureSource(
            folder=folder, index=index, channels=3 if data.colour else 1, classes=data.classes
        )
        return import_pictures(pictures, out, spread=spread, test_fraction=data.test_fraction)


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """Yield the folder of pictures, unpacked if it is an archive."""
    if source.suffix != ".zip":
        yield source
        return
    with TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(source) as archive:
                archive.extractall(folder)  # which lets no member leave the folder
        except (OSError, zipfile.BadZipFile, RuntimeError) as error:
            raise DataError(f"{source}: not a readable .zip file ({type(error).__name__})") from error
        yield Path(folder)
