"""What a reading process and its parent say to each other: lengths, JSON and raw pixels, never code.

A message is 4 bytes with the length of its JSON, the JSON, and the pixels that the JSON announces. The parent
believes nothing: lengths are bounded before anything is read, and every field is checked by the form that
`images.py` declares, because a file may have taken the reading process over.
"""

import json
import struct
from dataclasses import asdict, dataclass
from typing import Annotated, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, TypeAdapter, ValidationError

from fed_client.images import Finding, ImageFacts, PreparedImage, TextDetector, TextFinding
from fed_common.errors import MalformedMessageError
from fed_common.task import Recipe

MAX_JSON_BYTES = 1 << 16
HEAD_BYTES = 4
_LENGTH = struct.Struct("!L")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What reading one file may take: memory beyond what the process has, processor time, and time.

    A breast in 80 slices of JPEG 2000 takes most of a minute.
    """

    memory_bytes: int = 1 << 30
    cpu_s: float = 60.0
    timeout_s: float = 120.0


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


Reply = Annotated[Picture | Statement | End, Discriminator("kind")]

_REPLY: TypeAdapter[Picture | Statement | End] = TypeAdapter(Reply)
_HELLO: TypeAdapter[Hello] = TypeAdapter(Hello)


def pack(
    message: Orders | Hello | Job | Picture | Statement | End, pixels: NDArray[np.uint16] | None = None
) -> bytes:
    """Return a message, one of the dataclasses above, as bytes; `pixels` are those of a `Picture`.

    Raises:
        MalformedMessageError: it is longer than what is read at the other end.
    """
    text = json.dumps(asdict(message)).encode()
    _check_length(len(text))
    return _LENGTH.pack(len(text)) + text + (b"" if pixels is None else pixels.astype("<u2").tobytes())


def unpack_length(head: bytes) -> int:
    """Return the length of the JSON that follows.

    Raises:
        MalformedMessageError: it is too long to be one.
    """
    (length,) = _LENGTH.unpack(head)
    _check_length(length)
    return int(length)


def _check_length(length: int) -> None:
    if not 0 < length <= MAX_JSON_BYTES:
        raise MalformedMessageError(f"a message must have 1 to {MAX_JSON_BYTES} bytes, got {length}")


def unpack_reply(text: bytes) -> Picture | Statement | End:
    """Return a reply whose every field has the right type, length and form.

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
        return _HELLO.validate_json(text, strict=True)
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
    head = stream.read(HEAD_BYTES)
    return stream.read(unpack_length(head)) if len(head) == HEAD_BYTES else None
