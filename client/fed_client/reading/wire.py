"""What a reading process and its parent say to each other: lengths, JSON and raw pixels, never code.

A message is 4 bytes with the length of its JSON, the JSON, and the pixels that the JSON announces. The parent
believes nothing: lengths are bounded before anything is read, and every field is checked, because a file may
have taken the reading process over.
"""

import json
import struct
from dataclasses import asdict, dataclass
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from fed_client.images import Finding, ImageFacts, PreparedImage, TextDetector, TextFinding
from fed_common.errors import MalformedMessageError
from fed_common.task import Recipe

MAX_JSON_BYTES = 1 << 16
_LENGTH = struct.Struct("!L")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What reading one file may take: memory beyond what the process has, processor time, and time."""

    memory_bytes: int = 1 << 30
    cpu_s: float = 30.0
    timeout_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Orders:
    """The first message to a reading process."""

    recipe: Recipe
    limits: Limits
    look_for_text: bool


@dataclass(frozen=True, kw_only=True)
class Hello:
    """Its first answer: it is ready, and says who looks for text in the pixels."""

    detector: TextDetector


@dataclass(frozen=True, kw_only=True)
class Job:
    """A file to read."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture follows: its pixels stand behind this message."""

    kind: Literal["picture"] = "picture"
    text: TextFinding
    facts: ImageFacts


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A report says something of an image."""

    kind: Literal["statement"] = "statement"
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class End:
    """The file is read, or can't be: then `reason` says why."""

    kind: Literal["end"] = "end"
    reason: str


Reply = Picture | Statement | End

_REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


def pack(
    message: Orders | Hello | Job | Picture | Statement | End, pixels: NDArray[np.uint16] | None = None
) -> bytes:
    """Return a message, one of the dataclasses above, as bytes; `pixels` are those of a `Picture`."""
    text = json.dumps(asdict(message)).encode()
    return _LENGTH.pack(len(text)) + text + (b"" if pixels is None else pixels.astype("<u2").tobytes())


def unpack_length(head: bytes) -> int:
    """Return the length of the JSON that follows.

    Raises:
        MalformedMessageError: it is too long to be one.
    """
    (length,) = _LENGTH.unpack(head)
    if not 0 < length <= MAX_JSON_BYTES:
        raise MalformedMessageError(f"a message of {length} bytes, at most {MAX_JSON_BYTES} are read")
    return int(length)


def unpack_reply(text: bytes) -> Reply:
    """Return a reply whose every field has the right type.

    Raises:
        MalformedMessageError: it hasn't.
    """
    try:
        return _REPLY.validate_json(text, strict=True)
    except ValidationError:
        raise MalformedMessageError("no reply of a reading process") from None


def unpack_hello(text: bytes) -> Hello:
    """Return the first answer.

    Raises:
        MalformedMessageError: it is something else.
    """
    try:
        return TypeAdapter(Hello).validate_json(text, strict=True)
    except ValidationError:
        raise MalformedMessageError("no greeting of a reading process") from None


def picture(message: Picture, pixels: bytes, recipe: Recipe) -> PreparedImage:
    """Return the picture of a `Picture` and its pixels, of which there must be as many as the recipe says."""
    shape = (recipe.channels, recipe.size, recipe.size)
    grey_CHW = np.frombuffer(pixels, dtype="<u2").astype(np.uint16).reshape(shape)
    return PreparedImage(grey_CHW=grey_CHW, text=message.text, facts=message.facts)


def num_pixel_bytes(recipe: Recipe) -> int:
    """Return how many bytes stand behind a `Picture`."""
    return 2 * recipe.channels * recipe.size**2


def read_message(stream: BinaryIO) -> bytes | None:
    """Return the JSON of the next message of a stream, None at its end; for the reading process."""
    head = stream.read(_LENGTH.size)
    return stream.read(unpack_length(head)) if len(head) == _LENGTH.size else None
