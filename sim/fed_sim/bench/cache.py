"""What an encrypted data set costs: to gather a batch from, to write, to reopen, and to register at all.

A batch is compared with the usual way, numpy indexing a memory-mapped file of uint16, in one run. The plain
text of write and open is the same bytes without encryption, synced to disk and read from the page cache.
"""

# Shape letters: N images, C channels, H rows, W columns.

import mmap
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fed_client.dataset import LabelledImages
from fed_client.dataset.registration import register
from fed_client.dataset.reopening import open_dataset
from fed_client.dataset.sealing import VersionKey, read_sealed, write_sealed
from fed_client.dataset.source import SiteKeys, Source
from fed_client.dataset.split import Fractions
from fed_client.dataset.versions import Version, latest_version
from fed_common import seeds
from fed_common.allocator import keep_freed_memory
from fed_common.signing import SigningKey
from fed_common.task import Recipe, Task
from fed_sim.acquisition import Device, Encoding
from fed_sim.bench.timing import interleaved_ms
from fed_sim.dicom_writer import DicomImage, Person, Visit
from fed_sim.hospitals import LabelledImage, write_site

BATCH = 64
GATHER_TARGET = 1.2
_TASK = Task(name="bench", classes=("a", "b"), positive="b", recipe=Recipe(size=32))
_SOURCE_SIZE = 48


@dataclass(frozen=True, kw_only=True)
class Gather:
    """Microseconds per image for a random batch as float32; `ours` is normalised, too."""

    size: int
    plain_us: float
    ours_us: float

    @property
    def ratio(self) -> float:
        """Return our time in parts of the plain one's."""
        return self.ours_us / self.plain_us


@dataclass(frozen=True, kw_only=True)
class Encryption:
    """Gigabytes per second."""

    write_plain: float
    write_sealed: float
    open_plain: float
    open_sealed: float


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Seconds and peak memory of this process; the reading processes have their own limits."""

    images: int
    register_s: float
    again_s: float
    reopen_s: float
    memory_before_mb: float
    peak_memory_mb: float


def measure_gather(*, size: int, images: int, repeats: int) -> Gather:
    """Compare the gathering of a batch from an opened data set with that from a memory-mapped file."""
    keep_freed_memory()
    torch.set_num_threads(1)
    rng = seeds.stream(0, "bench gather")
    grey_NCHW = rng.integers(0, 65536, (images, 1, size, size), dtype=np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain"
        grey_NCHW.tofile(path)
        plain = np.memmap(path, dtype=np.uint16, mode="r", shape=grey_NCHW.shape)
        ours = _as_opened(grey_NCHW)
        batches = [rng.integers(0, images, BATCH) for _ in range(32)]
        taken = interleaved_ms(
            {
                "plain": lambda: [plain[batch].astype(np.float32) for batch in batches],
                "ours": lambda: [ours.batch(torch.from_numpy(batch)) for batch in batches],
            },
            repeats=repeats,
        )
    per_image_us = 1000 / (BATCH * len(batches))
    return Gather(size=size, plain_us=taken["plain"] * per_image_us, ours_us=taken["ours"] * per_image_us)


def measure_encryption(*, num_bytes: int, repeats: int) -> Encryption:
    """Measure how fast pictures are written and opened, with and without encryption."""
    data = os.urandom(1 << 24) * max(1, num_bytes >> 24)
    key = VersionKey.new()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [memoryview(data)[start : start + 100_352] for start in range(0, len(data), 100_352)]
        _write_plain(folder / "plain", parts)
        write_sealed(folder / "images", parts, num_bytes=len(data), key=key, file="images")

        def written_anew(path: Path, write: Callable[[Path], object]) -> None:
            path.unlink(missing_ok=True)
            write(path)

        def sealed(path: Path) -> object:
            return write_sealed(path, parts, num_bytes=len(data), key=key, file="images")

        taken = interleaved_ms(
            {
                "write_plain": lambda: written_anew(folder / "a", lambda path: _write_plain(path, parts)),
                "write_sealed": lambda: written_anew(folder / "b", sealed),
                "open_plain": lambda: _into_memory(len(data), lambda m: _read_plain(folder / "plain", m)),
                "open_sealed": lambda: _into_memory(
                    len(data), lambda m: read_sealed(folder / "images", m, key=key, file="images")
                ),
            },
            repeats=repeats,
        )
    rates = {way: len(data) / milliseconds / 1e6 for way, milliseconds in taken.items()}
    return Encryption(**rates)


def measure_registration(*, images: int, patients: int) -> Registration:
    """Register small pictures of made-up patients, register again, and reopen."""
    keys = SiteKeys(identity=SigningKey(Ed25519PrivateKey.generate()), secret=os.urandom(32))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_site(folder / "site", _made_up(images, patients), positive=_TASK.positive)
        source = Source(
            images=folder / "site" / "images",
            labels=folder / "site" / "labels.csv",
            fractions=Fractions(validation=0.1, test=0.1),
        )

        def registered() -> Version:
            return register(source, task=_TASK, keys=keys, folder=folder / "state", min_patients=1)

        before_mb = _peak_mb()
        register_s = _seconds(registered)
        peak_mb = _peak_mb()
        again_s = _seconds(registered)

        def reopened() -> None:
            version = latest_version(folder / "state", keys.identity.verifying_key)
            if version is not None:
                open_dataset(version, _TASK, site_secret=keys.secret)

        reopen_s = _seconds(reopened)
    return Registration(
        images=images,
        register_s=register_s,
        again_s=again_s,
        reopen_s=reopen_s,
        memory_before_mb=before_mb,
        peak_memory_mb=peak_mb,
    )


def _as_opened(grey_NCHW: NDArray[np.uint16]) -> LabelledImages:
    """Return images in anonymous memory, as `open_dataset` gives them."""
    memory = mmap.mmap(-1, grey_NCHW.nbytes)
    values_NCHW = np.frombuffer(memory, dtype=np.int16).reshape(grey_NCHW.shape)
    values_NCHW[:] = (grey_NCHW ^ np.uint16(1 << 15)).view(np.int16)
    count = len(grey_NCHW)
    return LabelledImages(
        images_NCHW=torch.from_numpy(values_NCHW),
        labels_N=torch.zeros(count, dtype=torch.int64),
        patients_N=torch.arange(count),
        num_patients=count,
    )


def _made_up(images: int, patients: int) -> Iterator[LabelledImage]:
    """Yield smooth pictures that all differ, each patient's in a row."""
    rng = seeds.stream(0, "bench registration")
    waves = np.cos(np.pi * np.outer(np.arange(_SOURCE_SIZE) / _SOURCE_SIZE, np.arange(7)))
    for number in range(images):
        picture = waves @ rng.normal(size=(7, 7)) @ waves.T
        picture -= picture.min()
        patient = number * patients // images
        yield LabelledImage(
            file=f"{number // 1000:04d}/{number:07d}.dcm",
            label=_TASK.classes[patient % 2],
            image=DicomImage(
                visit=Visit(person=Person(patient_id=f"BENCH-{patient:06d}"), uid_root=f"bench/{patient}"),
                device=Device(modality="DX"),
                encoding=Encoding(photometric="MONOCHROME2"),
                number=number + 1,
                pixels=(255 / picture.max() * picture).astype(np.uint8),
            ),
        )


def _write_plain(path: Path, parts: list[memoryview]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _read_plain(path: Path, target: memoryview) -> None:
    with path.open("rb", buffering=0) as file:
        done = 0
        while done < len(target):
            done += file.readinto(target[done : done + (1 << 20)])


def _into_memory(num_bytes: int, read: Callable[[memoryview], None]) -> None:
    with mmap.mmap(-1, num_bytes) as memory, memoryview(memory) as target:
        read(target)


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
