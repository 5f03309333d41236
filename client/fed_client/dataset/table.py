"""The rows of a data set, one for each picture: small enough that 100,000 fit in 20 MB.

Everything in a row is keyed or a number; it is encrypted all the same, because pseudonyms tell a hospital's
own staff who is who.
"""

# Shape letters: N pictures.

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fed_client.deidentification import Pseudonym
from fed_common.errors import TrustError
from fed_common.names import Digest

SideName = Literal["train", "validation", "test"]
SIDES: tuple[SideName, ...] = ("train", "validation", "test")
SOURCE_SPLITS = ("", *SIDES)

# Who says whose picture it is; "nobody" where each file is taken for another patient.
NamedBy = Literal["header", "list", "nobody"]
NAMED_BY: tuple[NamedBy, ...] = ("header", "list", "nobody")

# Digests as 32 bytes. `origin` is that of the file's own identity, `instance` of one frame of it; `number`
# is the file's place among all. `labels` has bit k set if the picture shows class k. `acquisition` and
# `codes` are places in the table's lists, `source_split` in `SOURCE_SPLITS`, `side` in `SIDES`, `named_by` in
# `NAMED_BY`.
ROW = np.dtype(
    [
        ("patient", "S32"),
        ("origin", "S32"),
        ("instance", "S32"),
        ("pixels", "S32"),
        ("file", "S32"),
        ("look", "u8"),
        ("labels", "u8"),
        ("frame", "u4"),
        ("number", "u4"),
        ("acquisition", "u4"),
        ("codes", "u4"),
        ("source_split", "u1"),
        ("side", "u1"),
        ("named_by", "u1"),
    ]
)
Rows = NDArray[np.void]

_BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """How a picture was made, in terms that say nothing of a person."""

    modality: str
    view: str
    body_part: str
    photometric: str
    transfer_syntax: str
    bits_stored: int
    size: str


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a header says of a picture that training may know."""

    acquisition: Acquisition
    codes: tuple[str, ...]
    named_by: NamedBy


class Digests(NamedTuple):
    """Whose a picture is, where it comes from and what it is; 32 bytes each."""

    patient: bytes
    origin: bytes
    instance: bytes
    pixels: bytes
    file: bytes


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Table:
    """All rows of a data set and what their numbers stand for."""

    rows_N: Rows
    acquisitions: tuple[Acquisition, ...]
    codes: tuple[tuple[str, ...], ...]

    def taken(self, picked_N: NDArray[Any]) -> "Table":
        """Return the rows at `picked_N`, in that order."""
        return Table(
            rows_N=self.rows_N[picked_N],
            acquisitions=self.acquisitions,
            codes=self.codes,
        )


class TableBuilder:
    """Takes rows as they come; lists what repeats only once."""

    def __init__(self) -> None:
        self._blocks: list[Rows] = []
        self._pending: list[tuple[object, ...]] = []
        self._acquisitions: dict[Acquisition, int] = {}
        self._codes: dict[tuple[str, ...], int] = {}

    def add(self, digests: Digests, *, look: int, number: int, frame: int, side: int, made: Made) -> None:
        """Add a row; its label comes later."""
        places = (
            self._acquisitions.setdefault(made.acquisition, len(self._acquisitions)),
            self._codes.setdefault(made.codes, len(self._codes)),
        )
        named_by = NAMED_BY.index(made.named_by)
        self._pending.append((*digests, look, 0, frame, number, *places, 0, side, named_by))
        if len(self._pending) == _BLOCK:
            self._close_block()

    def table(self) -> Table:
        """Return all rows, in the order they came."""
        self._close_block()
        return Table(
            rows_N=np.concatenate(self._blocks),
            acquisitions=tuple(self._acquisitions),
            codes=tuple(self._codes),
        )

    def _close_block(self) -> None:
        self._blocks.append(np.array(self._pending, dtype=ROW))
        self._pending.clear()


def encode(table: Table) -> bytes:
    """Return the table as bytes: a line of JSON, then the rows as they are in memory."""
    lists = {
        "acquisitions": [asdict(acquisition) for acquisition in table.acquisitions],
        "codes": table.codes,
    }
    return json.dumps(lists).encode() + b"\n" + table.rows_N.tobytes()


def decode(raw: bytes | bytearray) -> Table:
    """Return the table that `encode` wrote.

    Raises:
        TrustError: it is of another form.
    """
    try:
        end = raw.index(b"\n")
        lists = json.loads(raw[:end])
        return Table(
            rows_N=np.frombuffer(raw, dtype=ROW, offset=end + 1),
            acquisitions=tuple(Acquisition(**acquisition) for acquisition in lists["acquisitions"]),
            codes=tuple(tuple(codes) for codes in lists["codes"]),
        )
    except (ValueError, KeyError, TypeError):
        raise TrustError("the table of the data set is of another form") from None


def raw_digest(digest: Digest | Pseudonym) -> bytes:
    """Return a digest's 32 bytes."""
    return bytes.fromhex(digest)


def numbers_of(values_N: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Return for each value its place among the different ones in order, and how many there are."""
    different, places_N = np.unique(values_N, return_inverse=True)
    return places_N.astype(np.int64), len(different)


def terms_of(acquisition: Acquisition) -> dict[str, str]:
    """Return the names with their values as text."""
    return {name: str(value) for name, value in asdict(acquisition).items()}
