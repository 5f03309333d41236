"""Reads made-up DICOM files in tests; what makes them is in tests/client/dicom_files.py."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from tests.client.dicom_files import RAMP, Pixels, image_dataset, write

from fed_client.images import SourceImage
from fed_client.reading.dicom import read_file
from fed_common.errors import UnreadableImageError
from fed_common.task import Frames

CANARY = "CANARY7341"


def frames_of(path: Path, frames: Frames = "each") -> list[SourceImage]:
    """Return the pictures of a file."""
    return [item for item in read_file(path, frames) if isinstance(item, SourceImage)]


def read(folder: Path, dataset: Dataset, syntax: str = uid.ExplicitVRLittleEndian) -> SourceImage:
    """Return the one picture of `dataset`, after it was a file."""
    (image,) = frames_of(write(folder / "image.dcm", dataset, uid.UID(syntax)))
    return image


def units(image: SourceImage) -> NDArray[np.float64]:
    """Return a picture in real units."""
    return image.stored_HW.astype(np.float64) * image.slope + image.intercept


def refusal(path: Path) -> str:
    """Return why the file isn't read."""
    with pytest.raises(UnreadableImageError) as caught:
        frames_of(path)
    return str(caught.value)


def compressed(frames: list[bytes], pixels: Pixels = RAMP, **elements: object) -> Dataset:
    """Return an image of the kind of `pixels` whose frames are compressed already."""
    number: dict[str, object] = {"NumberOfFrames": len(frames)} if len(frames) > 1 else {}
    given: dict[str, object] = {"PixelData": encapsulate(frames), **number, **elements}
    photometric = str(given.pop("photometric", "RGB" if pixels.ndim == 3 else "MONOCHROME2"))
    dataset = image_dataset(pixels, patient="P1", photometric=photometric, **given)
    dataset["PixelData"].is_undefined_length = True
    return dataset
