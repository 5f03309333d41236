"""Spares a public picture from being read, and its features from being made, each time it is dealt out."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import torch

from fed_client.dataset.source import OpenReader, Reader, reading_processes
from fed_client.images import TextDetector
from fed_client.reading.pool import Outcome
from fed_common.greys import USUAL
from fed_common.models import ModelSpec, build_model, frozen_features
from fed_common.models.frozen import FrozenThenHead, keep_features
from fed_common.task import Recipe

# Shape letters: N images, C channels, H rows, W columns, V views, D features.


class KnownPictures:
    """What was read from all files so far, and the features of all pictures, by their bytes."""

    def __init__(self, open_reader: OpenReader = reading_processes) -> None:
        self._open_reader = open_reader
        self._outcomes: dict[str, dict[bytes, Outcome]] = {}
        self._features_VD: dict[bytes, torch.Tensor] = {}

    @contextmanager
    def open_reader(self, recipe: Recipe) -> Iterator[Reader]:
        """Yield a reader that has only those files read that aren't known."""
        with self._open_reader(recipe) as reader:
            yield _ReadOnce(reader, self._outcomes.setdefault(recipe.digest, {}))

    def prepare(self, spec: ModelSpec, images_NCHW: torch.Tensor) -> None:
        """Make training and judging on `images_NCHW` find its features computed, one view of each picture."""
        model = build_model(spec)
        if not isinstance(model, FrozenThenHead):
            return
        keys = [
            spec.fingerprint.encode() + sha256(image_CHW.numpy().tobytes()).digest()
            for image_CHW in images_NCHW
        ]
        new = [row for row, key in enumerate(keys) if key not in self._features_VD]
        computed_NVD = frozen_features(model, images_NCHW[new], USUAL) if new else None
        if computed_NVD is not None:
            self._features_VD.update(zip((keys[row] for row in new), computed_NVD, strict=True))
        features_NVD = torch.stack([self._features_VD[key] for key in keys])
        keep_features(model, images_NCHW, USUAL, features_NVD)


class _ReadOnce:
    def __init__(self, reader: Reader, outcomes: dict[bytes, Outcome]) -> None:
        self._reader, self._outcomes = reader, outcomes
        self.detector: TextDetector = reader.detector

    def read(self, paths: Iterable[Path]) -> Iterator[Outcome]:
        """Yield what is in each file, in the order of `paths`."""
        files = [(sha256(path.read_bytes()).digest(), path) for path in paths]
        new = {key: path for key, path in files if key not in self._outcomes}
        self._outcomes.update(zip(new, self._reader.read(new.values()), strict=True))
        for key, _ in files:
            yield self._outcomes[key]
