"""A payload survives its pieces, and what is none is refused, whatever Flower's parsers make of it."""

import pytest
from flwr.app import ConfigRecord, RecordDict

from fed_common.errors import MalformedMessageError
from fed_common.flower_payload import PIECE_BYTES, TooLargeError, content_of, pack, unpack


@pytest.mark.parametrize("size", [1, PIECE_BYTES, 2 * PIECE_BYTES + 1])
def test_a_payload_comes_out_as_it_went_in(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert unpack(pack(payload), at_most=size) == payload
    with pytest.raises(TooLargeError, match=f"allowed are 1 to {size - 1}"):
        unpack(pack(payload), at_most=size - 1)


@pytest.mark.parametrize("sizes", [(1, 1), (10, PIECE_BYTES + 1), (0, 3), (PIECE_BYTES, 0, 1)])
def test_parts_come_out_joined(sizes: tuple[int, ...]) -> None:
    parts = [bytes([number]) * size for number, size in enumerate(sizes, start=1)]
    views = [memoryview(part) for part in parts]
    assert unpack(pack(*views), at_most=sum(sizes)) == b"".join(parts)


@pytest.mark.parametrize("content", [{}, {"0": ConfigRecord()}, {"0": ConfigRecord({"piece": b""})}])
def test_a_message_without_a_payload_is_refused(content: dict[str, ConfigRecord]) -> None:
    with pytest.raises(MalformedMessageError, match="without a payload"):
        unpack(RecordDict({**content}), at_most=1)


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"no head",
        b"ConfigRecord  3\x00\xff\xff\xff",
        b"RecordDict  2\x00[]",
        b"RecordDict  1\x001",
        b"RecordDict  2\x00{}",
        b"Surprise  0\x00",
    ],
)
def test_parts_that_are_no_message_are_malformed(part: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        content_of("id", {"id": part})


def test_a_message_that_lacks_a_part_is_malformed() -> None:
    with pytest.raises(MalformedMessageError, match="KeyError"):
        content_of("id", {})
