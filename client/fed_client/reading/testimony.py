"""Collects what a reading process says of one file, as far as one file can say it.

A file that has taken its reader over could else invent patients: thousands of pictures, each of another one.
"""

from dataclasses import replace

from fed_client.images import Finding, ImageFacts, PreparedImage
from fed_client.reading import bounds
from fed_client.reading.frames import chosen
from fed_common.errors import MalformedMessageError, UnreadableImageError
from fed_common.task import Frames


class Testimony:
    """What was said so far: either the wanted frames of one image, in their order, or findings."""

    def __init__(self, frames: Frames) -> None:
        self._frames: Frames = frames
        self._wanted = range(0)
        self._last: ImageFacts | None = None
        self._num_bytes = 0
        self._items: list[PreparedImage | Finding] = []

    def count(self, num_bytes: int) -> None:
        """Count bytes that are about to be received.

        Raises:
            UnreadableImageError: they are more than a file may fill the memory with.
        """
        self._num_bytes += num_bytes
        if self._num_bytes > bounds.MAX_ANSWER_BYTES:
            raise UnreadableImageError("the file holds more pictures than are read")

    def expect(self, facts: ImageFacts) -> None:
        """Return only if a frame with these facts can be the next, whose pixels are then received.

        Raises:
            MalformedMessageError: it is of another image, or not the next that is wanted.
        """
        if not self._items:
            self._wanted = chosen(facts.num_frames, self._frames)
        elif self._last is None or _of_image(facts) != _of_image(self._last):
            raise MalformedMessageError("a frame of another image")
        if len(self._items) == len(self._wanted) or facts.frame != self._wanted[len(self._items)]:
            raise MalformedMessageError("not the next frame")
        self._last = facts

    def take(self, item: PreparedImage | Finding) -> None:
        """Take a frame that was expected, or a finding.

        Raises:
            MalformedMessageError: the file holds an image, or more findings than a report may have.
        """
        if isinstance(item, Finding) and (self._last or len(self._items) == bounds.MAX_FINDINGS):
            raise MalformedMessageError("a finding too many")
        self._items.append(item)

    def all(self) -> tuple[PreparedImage | Finding, ...]:
        """Return everything, at the file's end.

        Raises:
            MalformedMessageError: a frame is missing.
        """
        if self._last and len(self._items) != len(self._wanted):
            raise MalformedMessageError("a frame is missing")
        return tuple(self._items)


def _of_image(facts: ImageFacts) -> ImageFacts:
    """Return what all frames of an image share; each has its own place in the body."""
    return replace(facts, frame=0, body_part="", pixels="")
