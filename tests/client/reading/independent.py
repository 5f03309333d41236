"""Decodes DICOM files by programs that share no code with ours: DCMTK, and GDCM for JPEG 2000."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, uid

NEEDED = (
    "dcmconv",
    "dcmcjpeg",
    "dcmdjpeg",
    "dcmcrle",
    "dcmdrle",
    "dcmcjpls",
    "dcmdjpls",
    "dcmj2pnm",
    "gdcmconv",
)
MISSING = [program for program in NEEDED if shutil.which(program) is None]

_JPEG = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1}
_JPEG_LS = {uid.JPEGLSLossless, uid.JPEGLSNearLossless}
_JPEG_2000 = {uid.JPEG2000, uid.JPEG2000Lossless}


def decoded_elsewhere(path: Path, folder: Path) -> tuple[str, NDArray[Any] | None]:
    """Return who decoded the file and its stored frames (F, H, W) or (F, H, W, 3), None if nobody could."""
    header = dcmread(path, stop_before_pixels=True)
    syntax = header.file_meta.TransferSyntaxUID
    if header.PhotometricInterpretation in ("PALETTE COLOR", "YBR_FULL") and syntax not in _JPEG:
        return _rendered(path, folder)
    plain = folder / "plain.dcm"
    plain.unlink(missing_ok=True)
    match syntax:
        case _ if syntax in _JPEG:
            command = ["dcmdjpeg", "+cn" if header.PhotometricInterpretation == "RGB" else "+cl", path, plain]
        case _ if syntax in _JPEG_LS:
            command = ["dcmdjpls", path, plain]
        case uid.RLELossless:
            command = ["dcmdrle", path, plain]
        case _ if syntax in _JPEG_2000:
            command = ["gdcmconv", "--raw", path, plain]
        case _:
            command = ["dcmconv", "+te", path, plain]
    ran = subprocess.run(list(map(str, command)), capture_output=True, check=False, timeout=60)
    if ran.returncode or not plain.exists():
        return str(command[0]), None
    return str(command[0]), _frames(plain)


def _frames(path: Path) -> NDArray[Any]:
    """Return what an uncompressed, little-endian file holds, put in order by the header alone."""
    file = dcmread(path)
    samples, rows, columns = file.SamplesPerPixel, file.Rows, file.Columns
    num_frames = int(file.get("NumberOfFrames") or 1)
    kind = f"<{'i' if file.PixelRepresentation else 'u'}{file.BitsAllocated // 8}"
    count = num_frames * rows * columns * samples
    values = np.frombuffer(file.PixelData, dtype=kind, count=count)
    if samples == 1:
        whole = values.reshape(num_frames, rows, columns).astype(np.int64) << (64 - file.BitsStored)
        shift = np.int64(64 - file.BitsStored)
        if file.PixelRepresentation:
            return np.asarray(whole >> shift)
        return np.asarray((whole.view(np.uint64) >> np.uint64(shift)).astype(np.int64))
    if file.PlanarConfiguration:
        return values.reshape(num_frames, samples, rows, columns).transpose(0, 2, 3, 1)
    return values.reshape(num_frames, rows, columns, samples)


def _rendered(path: Path, folder: Path) -> tuple[str, NDArray[Any] | None]:
    """Return the colours that DCMTK shows: palettes applied, 8 bits."""
    for old in folder.glob("shown*"):
        old.unlink()
    command = ["dcmj2pnm", "+op", "+Fa", str(path), str(folder / "shown")]
    ran = subprocess.run(command, capture_output=True, check=False, timeout=60)
    pictures = sorted(folder.glob("shown*"), key=lambda name: (len(name.name), name.name))
    if ran.returncode or not pictures:
        return "dcmj2pnm", None
    return "dcmj2pnm", np.stack([_ppm(picture.read_bytes()) for picture in pictures])


def _ppm(contents: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a raw PPM file."""
    fields: list[bytes] = []
    rest = contents
    while len(fields) < 4:
        line, _, rest = rest.partition(b"\n")
        fields += line.partition(b"#")[0].split()
    width, height = int(fields[1]), int(fields[2])
    assert fields[0] == b"P6", "DCMTK shows colour as P6"
    return np.frombuffer(rest, dtype=np.uint8, count=width * height * 3).reshape(height, width, 3)
