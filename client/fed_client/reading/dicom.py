"""Reads the frames of one DICOM file, or gives a reason that repeats nothing the file says.

Everything is checked against the header before a pixel is decoded, and frames are decoded one at a time.
"""

# Shape letters: H rows, W columns; colour images have 3 as a last dimension.

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom import Dataset

from fed_client.images import Finding, ImageFacts, SourceImage
from fed_client.reading.codecs import decode
from fed_client.reading.facts import digest_of_pixels, facts_of, modality_of
from fed_client.reading.frames import chosen, frame_bytes, groups_of, meaning_elements
from fed_client.reading.header import Header, parse, pixel_data, safely
from fed_client.reading.layout import Layout, layout_of, num_frames_of
from fed_client.reading.palette import from_palette
from fed_client.reading.reports import REPORT_CLASSES, read_findings
from fed_client.reading.values import look_up, meaning_of
from fed_common.errors import UnreadableImageError
from fed_common.task import Frames

MAX_FILE_BYTES = 1 << 30


def read_file(path: Path, frames: Frames) -> Iterator[SourceImage | Finding]:
    """Yield the wanted frames of the file at `path`, or what a report says of images elsewhere.

    Raises:
        UnreadableImageError: it is no regular file, or holds no image that can be used as it is.
    """
    with mapped(path) as contents:
        items = _items(contents, frames)
        # Not around `yield`: the caller's warnings and errors are his own.
        while True:
            with safely():
                item = next(items, None)
            if item is None:
                return
            yield item


def _items(contents: mmap.mmap, frames: Frames) -> Iterator[SourceImage | Finding]:
    header = parse(contents)
    if header.elements.get("SOPClassUID") in REPORT_CLASSES:
        yield from read_findings(header.elements)
    else:
        yield from _images(header, frames)


def _images(header: Header, frames: Frames) -> Iterator[SourceImage]:
    modality_of(header)  # before its pixels are looked for
    pixels = pixel_data(header)
    layout = layout_of(header)
    num_frames = num_frames_of(header, layout)
    wanted = chosen(num_frames, frames)
    parts = frame_bytes(header, pixels, layout, num_frames=num_frames, wanted=wanted)
    for number, part in zip(wanted, parts, strict=True):
        stored_HW = decode(part, header.syntax, layout)
        groups = groups_of(header.elements, number)
        facts = facts_of(
            header,
            layout,
            frame=number,
            num_frames=num_frames,
            groups=groups,
            pixels=digest_of_pixels(stored_HW),
        )
        yield _image(header, layout, stored_HW, groups=groups, facts=facts)


def _image(
    header: Header, layout: Layout, stored_HW: NDArray[Any], *, groups: list[Dataset], facts: ImageFacts
) -> SourceImage:
    """Return the frame in real units or in colour. Source: DICOM PS3.3 C.11.1 (units are of grey only)."""
    meaning = meaning_of(
        meaning_elements(header.elements, groups),
        signed=layout.signed,
        little_endian=layout.little_endian,
    )
    if layout.photometric == "PALETTE COLOR":
        stored_HW = from_palette(stored_HW, header, signed=layout.signed)
    elif meaning.table is not None:
        stored_HW = look_up(stored_HW, meaning.table)
    in_colour = stored_HW.ndim == 3
    return SourceImage(
        stored_HW=stored_HW,
        slope=1.0 if in_colour else meaning.slope,
        intercept=0.0 if in_colour else meaning.intercept,
        voi=None if in_colour else meaning.voi,
        windows={} if in_colour else meaning.windows,
        inverted=layout.photometric == "MONOCHROME1",
        facts=facts,
    )


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Map a regular file into memory: a page that isn't looked at isn't read.

    Raises:
        UnreadableImageError: it is no regular file, or too large.
    """
    try:
        # No symbolic link leads out of the folder, and no named pipe holds the reader up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # `from None`: the foreign message would bring the path.
        raise UnreadableImageError(f"the file can't be opened ({type(error).__name__})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableImageError(f"the file must have at most {MAX_FILE_BYTES} bytes")
        if status.st_size == 0:
            raise UnreadableImageError("the file is empty")
        try:
            # Not closed: views into it may live on; it goes with the last of them.
            contents = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise UnreadableImageError(f"the file can't be read ({type(error).__name__})") from None
    finally:
        os.close(descriptor)
    yield contents
