"""How long it takes from a DICOM file to the picture that is trained on, against the usual way.

The usual way is pydicom's `dcmread`, `pixel_array` and `apply_voi_lut`, then an anti-aliased resize by torch,
with the decoder that pydicom takes by itself. Who knows them all may name a faster one: that is timed, too.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_voi_lut
from pydicom.pixels.utils import pixel_array
from torch.nn.functional import interpolate

from fed_client.images import SourceImage
from fed_client.reading.dicom import read_file
from fed_client.reading.pool import ReaderPool
from fed_client.reading.prepare import prepare
from fed_client.reading.text import find_text
from fed_common import seeds
from fed_common.allocator import keep_freed_memory
from fed_common.task import Recipe
from fed_sim.bench.timing import interleaved_ms

TARGET_SIZE = 224
# How long the pool's files should take one process.
_POOL_MS = 2000


@dataclass(frozen=True, kw_only=True)
class Format:
    """A way to store pixels, and how many times faster than usual it must be read, if there is a target."""

    name: str
    syntax: uid.UID
    encode: Callable[[NDArray[np.uint16]], bytes] | None
    target: float | None


def _rle(picture_HW: NDArray[np.uint16]) -> bytes:
    dataset = Dataset()
    dataset.Rows, dataset.Columns = picture_HW.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.file_meta = FileMetaDataset()
    dataset.compress(uid.RLELossless, picture_HW, encoding_plugin="pydicom", generate_instance_uid=False)
    return get_frame(dataset.PixelData, 0, number_of_frames=1)


FORMATS = (
    Format(name="raw", syntax=uid.ExplicitVRLittleEndian, encode=None, target=8),
    Format(name="RLE", syntax=uid.RLELossless, encode=_rle, target=5),
    Format(
        name="JPEG lossless",
        syntax=uid.JPEGLosslessSV1,
        encode=lambda p: bytes(imagecodecs.jpeg8_encode(p, lossless=True, bitspersample=16, predictor=1)),
        target=2.5,
    ),
    Format(
        name="HTJ2K",
        syntax=uid.HTJ2KLossless,
        encode=lambda p: bytes(imagecodecs.htj2k_encode(p, reversible=True)),
        target=3,
    ),
    Format(
        name="JPEG-LS",
        syntax=uid.JPEGLSLossless,
        encode=lambda p: bytes(imagecodecs.jpegls_encode(p)),
        target=2,
    ),
    Format(
        name="JPEG 2000",
        syntax=uid.JPEG2000Lossless,
        encode=lambda p: bytes(imagecodecs.jpeg2k_encode(p, reversible=True, codecformat="j2k", level=0)),
        target=None,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Milliseconds per image on one core, files in the page cache; `pool_per_s` by number of processes.

    `fastest` is the decoder that pydicom had better take of those installed, empty if none can.
    """

    format: str
    usual_ms: float | None
    fastest: str
    fastest_ms: float | None
    ours_ms: float
    with_text_ms: float
    target: float | None
    pool_per_s: dict[int, float]

    @property
    def ratio(self) -> float | None:
        """How many times as fast as usual."""
        return None if self.usual_ms is None else self.usual_ms / self.ours_ms

    @property
    def ratio_to_fastest(self) -> float | None:
        """How many times as fast as with the best decoder."""
        return None if self.fastest_ms is None else self.fastest_ms / self.ours_ms

    @property
    def verdict(self) -> str:
        """Return whether the target is met, which is set against the usual way."""
        if self.target is None or self.ratio is None:
            return ""
        return "met" if self.ratio >= self.target else "missed"


def measure(*, side: int = 2048, repeats: int = 15, pool_files: int = 40) -> Iterator[Row]:
    """Yield a row for each format, of smooth pictures with a scanner's noise, 16 bits.

    The pool is timed without a look for text.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    recipe = Recipe(size=TARGET_SIZE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pools = {
            number: stack.enter_context(ReaderPool.opened(recipe, num_workers=number, look_for_text=False))
            for number in (1, 2)
        }
        for kind in FORMATS:
            path = folder / f"{kind.syntax}.dcm"
            path.write_bytes(_file(_picture(side), kind))
            fastest = _fastest_decoder(path, kind.syntax)
            taken = interleaved_ms(_ways(path, recipe, fastest), repeats=repeats)
            files = min(pool_files, max(4, int(_POOL_MS / taken["ours"])))
            yield Row(
                format=kind.name,
                usual_ms=taken.get("usual"),
                fastest=fastest,
                fastest_ms=taken.get("fastest"),
                ours_ms=taken["ours"],
                with_text_ms=taken["with text"],
                target=kind.target,
                pool_per_s={number: _pool_rate(pool, path, files) for number, pool in pools.items()},
            )


def _ways(path: Path, recipe: Recipe, fastest: str) -> dict[str, Callable[[], object]]:
    ways: dict[str, Callable[[], object]] = {
        "ours": partial(_ours, path, recipe, text=False),
        "with text": partial(_ours, path, recipe, text=True),
    }
    if fastest:
        ways["usual"] = partial(_usual, path, decoder="")
        ways["fastest"] = partial(_usual, path, decoder=fastest)
    return ways


def _picture(side: int) -> NDArray[np.uint16]:
    rows, columns = np.mgrid[0:side, 0:side] / side
    shape = 2000 + 1500 * np.sin(9 * columns) * np.cos(7 * rows)
    noise = seeds.stream(0, "bench ingest").normal(0, 20, (side, side))
    return np.asarray(np.clip(shape + noise, 0, 65535)).astype(np.uint16)


def _file(picture_HW: NDArray[np.uint16], kind: Format) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = uid.generate_uid(prefix=None)
    dataset.PatientID, dataset.PhotometricInterpretation = "bench", "MONOCHROME2"
    dataset.Rows, dataset.Columns = picture_HW.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.WindowCenter, dataset.WindowWidth = 2000, 4000
    if kind.encode is None:
        dataset.PixelData = picture_HW.tobytes()
    else:
        dataset.PixelData = encapsulate([kind.encode(picture_HW)])
    dataset["PixelData"].VR = "OW" if kind.encode is None else "OB"
    dataset["PixelData"].is_undefined_length = kind.encode is not None
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = kind.syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _ours(path: Path, recipe: Recipe, *, text: bool) -> None:
    for image in read_file(path, "each"):
        if isinstance(image, SourceImage):
            prepare(image, recipe)
            if text:
                find_text(image, "contrast")


def _usual(path: Path, *, decoder: str) -> torch.Tensor:
    """Return the picture; pydicom takes the first decoder that can unless one is named."""
    file = dcmread(path)
    if decoder and file.file_meta.TransferSyntaxUID.is_encapsulated:
        file.pixel_array_options(decoding_plugin=decoder)
    grey_HW = torch.from_numpy(np.asarray(apply_voi_lut(file.pixel_array, file), dtype=np.float32))
    size = (TARGET_SIZE, TARGET_SIZE)
    return interpolate(grey_HW[None, None], size=size, mode="bilinear", antialias=True)


def _fastest_decoder(path: Path, syntax: uid.UID) -> str:
    if not syntax.is_encapsulated:
        return "numpy"
    seconds: dict[str, float] = {}
    for plugin in get_decoder(syntax).available_plugins:
        try:
            pixel_array(path, decoding_plugin=plugin)  # loads what it needs
            start = time.perf_counter()
            pixel_array(path, decoding_plugin=plugin)
        except (RuntimeError, NotImplementedError, ValueError):
            continue
        seconds[str(plugin)] = time.perf_counter() - start
    return min(seconds, key=seconds.__getitem__, default="")


def _pool_rate(pool: ReaderPool, path: Path, files: int) -> float:
    """Return images per second."""
    list(pool.read([path] * 8))  # the processes compile
    taken = interleaved_ms({"pool": lambda: list(pool.read([path] * files))}, repeats=3)["pool"]
    return 1000 * files / taken
