"""Reads look-up tables in each of the forms in which files hold them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from fed_common.errors import UnreadableImageError

_WORD = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What a table says of itself: `first` is the value that its first entry is for."""

    count: int
    first: int
    bits: int


def descriptor_of(item: Dataset, keyword: str, *, signed: bool) -> Descriptor:
    """Return the three numbers of a descriptor; `signed` says whether `first` can be negative.

    Files choose the type of all three by the sign of the first mapped value, or forget to.

    Raises:
        UnreadableImageError: they are no table's.

    Source: DICOM PS3.3 C.11.1.1.1, C.11.2.1.1 and C.7.6.3.1.5.
    """
    value = item.get(keyword)
    if not isinstance(value, MultiValue | list) or len(value) != 3:
        raise UnreadableImageError(f"{keyword} must be 3 numbers")
    count, first, bits = (int(part) for part in value)
    first %= _WORD
    if not 8 <= bits <= 16:
        raise UnreadableImageError(f"{keyword} must be of 8 to 16 bits")
    return Descriptor(
        count=count % _WORD or _WORD,
        first=first - _WORD if signed and first >= _WORD // 2 else first,
        bits=bits,
    )


def entries_of(
    item: Dataset, keyword: str, descriptor: Descriptor, *, little_endian: bool
) -> NDArray[np.uint16]:
    """Return a table's entries; those of 8 bits may share words.

    Raises:
        UnreadableImageError: there are fewer than the descriptor says.

    Source: DICOM PS3.3 C.11.1.1.1, C.11.2.1.1 and C.7.6.3.1.6.
    """
    words = words_of(item.get(keyword), little_endian=little_endian)
    if descriptor.bits == 8 and words.size < descriptor.count:
        words = words.astype("<u2").view(np.uint8).astype(np.uint16)
    if words.size < descriptor.count:
        raise UnreadableImageError("a look-up table must hold as many values as its descriptor says")
    return words[: descriptor.count]


def words_of(value: Any, *, little_endian: bool) -> NDArray[np.uint16]:  # noqa: ANN401 - what pydicom gives
    """Return the 16-bit words of an element: raw bytes in the file's order (OW), or numbers (US, SS).

    Source: DICOM PS3.5 6.2 and 7.3.
    """
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype="<u2" if little_endian else ">u2", count=len(value) // 2).astype(
            np.uint16
        )
    numbers = np.atleast_1d(np.asarray([] if value is None else value, dtype=np.int64))
    return (numbers % _WORD).astype(np.uint16)


def positions(values: NDArray[Any], descriptor_first: float, count: int) -> NDArray[np.int64]:
    """Return where in the table each value is: the ends stand for what lies beyond.

    Source: DICOM PS3.3 C.11.1.1.1, C.11.2.1.1 and C.7.6.3.1.5.
    """
    return np.clip(values.astype(np.int64) - int(descriptor_first), 0, count - 1)
