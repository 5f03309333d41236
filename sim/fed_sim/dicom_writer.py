"""Writes real DICOM files for the simulated hospitals; the same input always gives the same bytes."""

# Shape letters: H rows, W columns; colour images carry a last axis of 3.

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from fed_common.errors import MachineError
from fed_sim.acquisition import Device, Encoding, Modality

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

# Source: DICOM PS3.4 B.5, standard storage SOP classes.
SOP_CLASS: dict[Modality, str] = {
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "OP": "1.2.840.10008.5.1.4.1.1.77.1.5.1",
}


@dataclass(frozen=True, kw_only=True)
class Person:
    """Whom the image shows; only `patient_id` is always known. Every value is invented."""

    patient_id: str
    name: str = ""
    birth_date: str = ""
    address: str = ""
    physician: str = ""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """When and why the image was taken; `uid_root` must differ between any two visits of a federation."""

    person: Person
    uid_root: str
    date: str = ""
    accession: str = ""


@dataclass(frozen=True, kw_only=True)
class DicomImage:
    """One image to be written; `number` counts from 1 within the visit."""

    visit: Visit
    device: Device
    encoding: Encoding
    number: int
    pixels: Pixels


def uid_of(*parts: str) -> str:
    """Return the UID under 2.25 that belongs to `parts`, always the same one.

    Source: DICOM PS3.5 B.2 (2.25 and a 128-bit number in decimal digits).
    """
    return f"2.25.{int.from_bytes(sha256('/'.join(parts).encode()).digest()[:16])}"


def write_dicom(path: Path, image: DicomImage) -> None:
    """Write `image` as a DICOM Part-10 file, uncompressed.

    Raises:
        MachineError: the disk refuses the file.
    """
    header = Dataset()
    _describe_person(header, image)
    _describe_study(header, image)
    _describe_device(header, image)
    _describe_pixels(header, image)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        dcmwrite(path, header, enforce_file_format=True)
    except OSError as error:
        raise MachineError(f"{path}: can't be written ({error.strerror})") from error


def _describe_person(header: Dataset, image: DicomImage) -> None:
    person = image.visit.person
    header.PatientID = person.patient_id
    header.PatientName = person.name
    header.PatientBirthDate = person.birth_date
    header.PatientSex = ""
    header.ReferringPhysicianName = person.physician
    if person.address:
        header.PatientAddress = person.address
        # Identities also hide in free text and in private tags.
        header.ImageComments = f"{person.name.replace('^', ' ')}, {person.address}"
        private = header.private_block(0x0011, "PHANTOM SCANNER", create=True)
        private.add_new(0x01, "LO", person.name)
        private.add_new(0x02, "LO", person.patient_id)


def _describe_study(header: Dataset, image: DicomImage) -> None:
    visit = image.visit
    header.SOPClassUID = SOP_CLASS[image.device.modality]
    header.SOPInstanceUID = uid_of(visit.uid_root, "image", str(image.number))
    header.StudyInstanceUID = uid_of(visit.uid_root, "study")
    header.SeriesInstanceUID = uid_of(visit.uid_root, "series")
    header.StudyDate = header.ContentDate = visit.date
    header.StudyTime = header.ContentTime = "120000" if visit.date else ""
    header.AccessionNumber = visit.accession
    header.StudyID = "1"
    header.SeriesNumber = 1
    header.InstanceNumber = image.number


def _describe_device(header: Dataset, image: DicomImage) -> None:
    device = image.device
    header.Modality = device.modality
    header.Manufacturer = device.manufacturer
    header.ManufacturerModelName = device.model
    header.InstitutionName = device.institution
    header.ImageType = ["ORIGINAL", "PRIMARY"] + (["AXIAL"] if device.modality == "CT" else [])
    header.BurnedInAnnotation = "NO"
    if device.modality == "DX":
        header.PresentationIntentType = "FOR PRESENTATION"
    if device.modality in ("CR", "DX"):
        header.BodyPartExamined = "CHEST"


def _describe_pixels(header: Dataset, image: DicomImage) -> None:
    encoding = image.encoding
    header.Rows, header.Columns = image.pixels.shape[:2]
    header.PhotometricInterpretation = encoding.photometric
    header.BitsAllocated = encoding.bits_allocated
    header.BitsStored = encoding.bits_stored
    header.HighBit = encoding.bits_stored - 1
    header.PixelRepresentation = int(encoding.signed)
    if encoding.photometric == "RGB":
        header.SamplesPerPixel = 3
        header.PlanarConfiguration = 0
    else:
        header.SamplesPerPixel = 1
        _describe_grey(header, image)
    little_endian = image.pixels.astype("<u2" if encoding.bits_allocated == 16 else "u1")
    data = little_endian.tobytes()
    # PS3.5 8.1.1: a value has an even number of bytes.
    header.PixelData = data + b"\0" * (len(data) % 2)


def _describe_grey(header: Dataset, image: DicomImage) -> None:
    encoding = image.encoding
    header.RescaleSlope = str(encoding.rescale_slope)
    header.RescaleIntercept = str(encoding.rescale_intercept)
    header.RescaleType = "HU" if image.device.modality == "CT" else "US"
    header.WindowCenter = str(encoding.window_center)
    header.WindowWidth = str(encoding.window_width)
    if image.device.modality == "DX":
        inverse = encoding.photometric == "MONOCHROME1"
        header.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
