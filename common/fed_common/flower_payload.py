"""How a payload travels in a Flower message: without it, each end of the line would have its own idea of it.

It goes in numbered pieces, so that no request is large and a broken transfer goes on where it stopped.
What comes in was made by the other side: anything but such a message is a MalformedMessageError.
"""

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from fed_common.errors import MalformedMessageError
from fed_common.names import Bytes

PIECE_BYTES = 4 << 20
MAX_PAYLOAD_BYTES = 1 << 30


class TooLargeError(MalformedMessageError):
    """What came is larger than anything that is ever sent."""


def pack(*parts: Bytes) -> RecordDict:
    """Return the payload, which is all `parts` one after the other, in numbered pieces."""
    pieces = [
        bytes(part[start : start + PIECE_BYTES])
        for part in parts
        for start in range(0, len(part), PIECE_BYTES)
    ]
    return RecordDict({f"{number:06}": ConfigRecord({"piece": piece}) for number, piece in enumerate(pieces)})


def unpack(content: RecordDict, *, at_most: int) -> bytes:
    """Return the payload of `content`.

    Raises:
        MalformedMessageError: it has none.
        TooLargeError: it has more than `at_most` bytes.
    """
    records = content.config_records
    pieces = [piece for name in sorted(records) if isinstance(piece := records[name].get("piece"), bytes)]
    # Measured before it is joined: records may share a piece, so few bytes can stand for many.
    if (size := sum(map(len, pieces))) > at_most:
        raise TooLargeError(f"a payload of {size} bytes, allowed are 1 to {at_most}")
    if not size:
        raise MalformedMessageError("a message without a payload")
    return b"".join(pieces)


def content_of(message_id: str, parts: dict[str, bytes]) -> RecordDict:
    """Return the content of the message whose objects, by their ids, are `parts`, which are used up.

    Raises:
        MalformedMessageError: they are no message, or one without content.
    """
    try:
        message = inflate_object_from_contents(message_id, parts)
    # Flower's parsers raise what they like, protobuf's own error among it; none of it may end a process.
    except Exception as error:
        raise MalformedMessageError(f"not a Flower message ({type(error).__name__})") from error
    if not isinstance(message, Message) or not message.has_content():
        raise MalformedMessageError(f"a Flower {type(message).__name__} without content")
    return message.content
