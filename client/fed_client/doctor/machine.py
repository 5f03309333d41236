"""Looks at the machine: disk, memory, cores and accelerator, against what the site's images need."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from fed_client.doctor.check import Check

# Ledger, answers and logs of a year; a full disk stops the site, because nothing is trained uncharged.
LEAST_FREE_BYTES = 1 << 30
# PyTorch, the accountants and two reading processes, before the first image.
BASE_MEMORY_BYTES = 2 << 30
_GB = 1e9


def check_machine(state: Path, *, image_bytes: int, threads: int) -> Iterator[Check]:
    """Yield what the machine has for that many `threads`; `image_bytes` is the size of all images."""
    yield _disk(state, needed=LEAST_FREE_BYTES + 2 * image_bytes)
    yield _memory(needed=BASE_MEMORY_BYTES + image_bytes)
    yield _cores(threads)
    yield _accelerator()


def _disk(state: Path, *, needed: int) -> Check:
    free = shutil.disk_usage(_nearest_folder(state)).free
    found = f"{free / _GB:.1f} GB free for the site's state, {needed / _GB:.1f} GB advised"
    if free < needed // 4:
        return Check(subject="disk", status="failure", found=found, advice="free some space, or move `state`")
    if free < needed:
        return Check(subject="disk", status="warning", found=found, advice="free some space")
    return Check(subject="disk", status="ok", found=found)


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _memory(*, needed: int) -> Check:
    available = available_memory_bytes()
    if available is None:
        return Check(
            subject="memory",
            status="warning",
            found="this system doesn't tell",
            advice=f"see that {needed / _GB:.1f} GB are available",
        )
    found = f"{available / _GB:.1f} GB available, {needed / _GB:.1f} GB advised"
    if available < needed:
        return Check(
            subject="memory", status="warning", found=found, advice="add memory, or stop other programs"
        )
    return Check(subject="memory", status="ok", found=found)


def available_memory_bytes(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return what a new process can have: the machine's free memory, or less if a container says so."""
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        available = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return available
    return min(available, max(limit - used, 0))


def _cores(threads: int) -> Check:
    cores = len(os.sched_getaffinity(0))
    if threads > cores:
        return Check(
            subject="cores",
            status="warning",
            found=f"{cores} for {threads} threads",
            advice="let site.threads be no more than the cores: threads that wait for each other are slow",
        )
    if cores < 2:
        return Check(
            subject="cores",
            status="warning",
            found="1 core",
            advice="a second core lets the site read images while it does other work",
        )
    return Check(subject="cores", status="ok", found=f"{cores} cores")


def _accelerator() -> Check:
    if torch.cuda.is_available():
        return Check(
            subject="GPU",
            status="ok",
            found=f"{torch.cuda.get_device_name()}; deep networks train there, small ones on the processor",
        )
    return Check(subject="GPU", status="ok", found="none; none is needed")
