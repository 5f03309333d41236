"""Makes tiny DICOM files, sound or broken, about patients who don't exist."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

Pixels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int16]

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)


def image_dataset(
    pixels: Pixels = RAMP, *, patient: str = "P1", photometric: str = "MONOCHROME2", **elements: object
) -> Dataset:
    """Return an image with `pixels` (H, W) or (H, W, 3); `elements` add, replace or, if None, remove."""
    dataset = Dataset()
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.PatientID = patient
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    with disable_value_validation():
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
    return dataset


def file_bytes(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Return `dataset` as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "1.2.3")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def write(path: Path, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write `dataset` to `path` and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_bytes(dataset, syntax))
    return path


def claim_syntax(contents: bytes, syntax: str) -> bytes:
    """Return the file `contents` with another transfer syntax in its header and the rest as it was."""
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    return contents.replace(
        b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI" + len(value).to_bytes(2, "little") + value, 1
    )
