"""Reads the files that image collections come in; a broken one is one line, never a traceback."""

# Shape letters: N images of H rows and W columns; colour images carry a last axis of 3.

import csv
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fed_common.errors import DataError

Row = dict[str, str]

# What numpy raises on files that aren't what they should be; RuntimeError stands for encrypted archives.
_BROKEN_ERRORS = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def load_images(path: Path, name: str) -> NDArray[np.uint8]:
    """Return the array `name` of an .npz file: 8-bit images of shape (N, H, W) or (N, H, W, 3).

    Raises:
        DataError: the file is missing or broken, or its array is something else.
    """
    images = _load_array(path, name)
    in_shape = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    if images.dtype != np.uint8 or not in_shape or not images.size:
        raise DataError(
            f"{path}: {name} must be 8-bit N,H,W or N,H,W,3 images, got {images.dtype} {images.shape}"
        )
    return images.astype(np.uint8, copy=False)


def load_labels(path: Path, name: str, *, num_images: int) -> list[int]:
    """Return the array `name` of an .npz file: one whole number per image, as (N,) or (N, 1).

    Raises:
        DataError: the file is missing or broken, or its array is something else.
    """
    labels = _load_array(path, name)
    if labels.shape not in ((num_images,), (num_images, 1)) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: {name} must be one whole number for each of {num_images} images, "
            f"got {labels.dtype} {labels.shape}"
        )
    return [int(label) for label in labels.ravel()]


def load_index(path: Path, columns: tuple[str, ...]) -> list[Row]:
    """Return the rows of a CSV file that must have `columns`.

    Raises:
        DataError: the file is missing, no CSV in UTF-8, empty, or lacks a column or a cell.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path}: has no column {', '.join(missing)}")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV file ({type(error).__name__})") from error
    if not rows:
        raise DataError(f"{path}: has no rows")
    for number, row in enumerate(rows):
        if not all(row[column] for column in columns):
            raise DataError(f"{path}: row {number} lacks one of {', '.join(columns)}")
    return rows


def sites_of(patients: Sequence[str], sites: Sequence[str]) -> Mapping[str, str]:
    """Return each patient's site, given image by image; of several sites, the first by name has all."""
    site_of: dict[str, str] = {}
    for patient, site in zip(patients, sites, strict=True):
        site_of[patient] = min(site, site_of.get(patient, site))
    return site_of


def _load_array(path: Path, name: str) -> NDArray[np.generic]:
    try:
        # Opened here: numpy 2 leaves a file open that turns out to be no archive.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            # A plain .npy file loads too, as an array.
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: must be an .npz archive")
            if name not in archive:
                raise DataError(f"{path}: has no array {name}")
            array: NDArray[np.generic] = archive[name]
            return array
    except _BROKEN_ERRORS as error:
        raise DataError(f"{path}: not a readable .npz archive ({type(error).__name__})") from error
