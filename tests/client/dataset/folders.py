"""A hospital's folder in the making, and a reader in this process instead of processes that may die."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.client.dicom_files import Pixels, image_dataset, write

from fed_client.dataset import SiteDataset
from fed_client.dataset.manifest import LabelSource
from fed_client.dataset.registration import register
from fed_client.dataset.reopening import open_dataset
from fed_client.dataset.source import Reader, SiteKeys, Source
from fed_client.dataset.split import Fractions
from fed_client.dataset.versions import Version
from fed_client.images import PreparedImage, SourceImage, TextDetector
from fed_client.reading.dicom import read_file
from fed_client.reading.pool import Outcome, Unreadable
from fed_client.reading.prepare import prepare
from fed_client.reading.raster import is_raster, read_raster
from fed_common.errors import UnreadableImageError
from fed_common.signing import SigningKey
from fed_common.task import Recipe, Task

KEYS = SiteKeys(identity=SigningKey(Ed25519PrivateKey.generate()), secret=bytes(range(32)))
TASK = Task(name="chest", classes=("normal", "finding"), positive="finding", recipe=Recipe(size=16))


class DirectReader:
    """Reads in this process and looks for no text; `paths` are those it was asked for."""

    detector: TextDetector = "off"

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.paths: list[Path] = []

    def read(self, paths: Iterable[Path]) -> Iterator[Outcome]:
        for path in paths:
            self.paths.append(path)
            try:
                images = read_raster(path) if is_raster(path) else read_file(path, self._recipe.frames)
                yield tuple(
                    self._prepared(item) if isinstance(item, SourceImage) else item for item in images
                )
            except UnreadableImageError as error:
                yield Unreadable(reason=str(error))

    def _prepared(self, image: SourceImage) -> PreparedImage:
        return PreparedImage(grey_CHW=prepare(image, self._recipe), text="none", facts=image.facts)


@contextmanager
def direct_reading(recipe: Recipe) -> Iterator[Reader]:
    yield DirectReader(recipe)


def pixels_of(number: int) -> Pixels:
    """Return 16 x 16 pixels that look like those of no other number."""
    return np.random.default_rng(number).integers(0, 4096, (16, 16), dtype=np.uint16)


class Folder:
    """A hospital's folder and its data sets; images alternate between the two classes.

    `allowed` are the fields of the source that loosen what is taken.
    """

    def __init__(self, root: Path, *, task: Task = TASK) -> None:
        self.images = root / "images"
        self.labels = root / "labels.csv"
        self.datasets = root / "state" / "datasets" / "chest"
        self.task = task
        self.rows = ["file,label"]
        self.reader = DirectReader(task.recipe)
        self.allowed: dict[str, Any] = {}

    def add(
        self, number: int, *, patient: str | None = None, name: str = "", label: str = "", **elements: object
    ) -> Path:
        """Write an image of patient P<number>; `elements` add, replace or, if None, remove."""
        name = name or f"{number:03}.dcm"
        dataset = image_dataset(
            pixels_of(number), patient=patient or f"P{number}", SOPInstanceUID=f"1.2.{number}"
        )
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        self.rows.append(f"{name},{label or self.task.classes[number % 2]}")
        return write(self.images / name, dataset)

    def register(
        self,
        *,
        min_patients: int = 2,
        fractions: Fractions | None = None,
        labels_from: LabelSource = "list",
        keys: SiteKeys = KEYS,
        on_image: Callable[[int, int], None] | None = None,
    ) -> Version:
        """Register the folder as it is, with a new reader."""
        if labels_from == "list":
            self.labels.write_text("\n".join(self.rows))
        self.reader = DirectReader(self.task.recipe)
        return register(
            self.source(fractions, labels_from),
            task=self.task,
            keys=keys,
            folder=self.datasets,
            min_patients=min_patients,
            open_reader=partial(_given, self.reader),
            on_image=on_image,
        )

    def source(self, fractions: Fractions | None = None, labels_from: LabelSource = "list") -> Source:
        return Source(
            images=self.images,
            labels=self.labels,
            labels_from=labels_from,
            fractions=fractions or Fractions(validation=0.2, test=0.0),
            **self.allowed,
        )

    def load(self, *, min_patients: int = 2, fractions: Fractions | None = None) -> SiteDataset:
        """Register and open."""
        version = self.register(min_patients=min_patients, fractions=fractions)
        return open_dataset(version, self.task, site_secret=KEYS.secret)


def reasons_of(version: Version) -> dict[str, int]:
    return {count.name: count.count for count in version.manifest.quarantine}


@contextmanager
def _given(reader: Reader, _recipe: Recipe) -> Iterator[Reader]:
    yield reader
