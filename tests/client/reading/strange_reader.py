"""A reading process that a file has taken over: the name of the file says what it does."""

import os
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.client.reading.source_images import FACTS

from fed_client.images import Finding, ImageFacts
from fed_client.reading.bounds import MAX_CODES, MAX_FINDINGS, MAX_FRAMES, MAX_TEXT
from fed_client.reading.wire import End, Hello, Picture, Statement, pack, read_message

PICTURE = pack(Picture(text="none", facts=FACTS))
PIXELS = np.full((1, 32, 32), 7, np.uint16)
END = pack(End(reason=""))


def say(message: bytes) -> None:
    sys.stdout.buffer.write(message)
    sys.stdout.buffer.flush()


def tell(*facts: ImageFacts) -> None:
    """Say one picture for each of the facts, whatever they are, and that this was all."""
    for each in facts:
        say(pack(Picture(text="none", facts=each), PIXELS))
    say(END)


def state(count: int, *, uid: str = "1.2.3", code: str = "SCT:1", flaws: Any = ()) -> None:
    """Say that many findings, and that this was all."""
    say(pack(Statement(finding=Finding(sop_instance_uid=uid, code=code, flaws=flaws))) * count)
    say(END)


def frames(count: int, *, of: int, **changed: Any) -> list[ImageFacts]:
    """Return the facts of the first frames of an image; `changed` are those of the last of them."""
    every = [replace(FACTS, num_frames=of, frame=number) for number in range(count)]
    return [*every[:-1], replace(every[-1], **changed)]


def stop_in_the_pixels() -> None:
    say(PICTURE + bytes(10))
    os._exit(0)


def never_end() -> None:
    for facts in frames(MAX_FRAMES, of=MAX_FRAMES):
        say(pack(Picture(text="none", facts=facts), PIXELS))


def mix() -> None:
    say(PICTURE + PIXELS.tobytes())
    state(1)


MISDEEDS: dict[str, Callable[[], object]] = {
    "hang": lambda: time.sleep(600),
    "crash": os.abort,
    "exit": lambda: os._exit(0),
    "garbage": lambda: say(b"\x00\x00\x00\x08notjson!"),
    "huge": lambda: say(struct.pack("!L", 2**32 - 1)),
    "wrong-field": lambda: say(b'\x00\x00\x00\x1c{"kind": "end", "reason": 1}'),
    "few-pixels": stop_in_the_pixels,
    "control": lambda: say(pack(End(reason="\x1b[31mred\nline" + "x" * 999))),
    "endless": never_end,
    "long-name": lambda: tell(replace(FACTS, patient_id="P" * (MAX_TEXT + 1))),
    "long-term": lambda: tell(replace(FACTS, view="P" * (MAX_TEXT + 1))),
    "many-codes": lambda: tell(replace(FACTS, codes=("SCT:1",) * (MAX_CODES + 1))),
    "free-text-as-code": lambda: tell(replace(FACTS, codes=("SCT:1 Jane Doe",))),
    "huge-frame-number": lambda: tell(replace(FACTS, frame=1 << 40, num_frames=1 << 41)),
    "no-rows": lambda: tell(replace(FACTS, rows=0)),
    "many-bits": lambda: tell(replace(FACTS, bits_stored=1 << 20)),
    "no-digest": lambda: tell(replace(FACTS, pixels="g" * 32)),
    "two-patients": lambda: tell(*frames(2, of=2, patient_id="P2")),
    "two-images": lambda: tell(*frames(2, of=2, sop_instance_uid="1.2.4")),
    "same-frame-twice": lambda: tell(*frames(2, of=2, frame=0)),
    "more-frames": lambda: tell(*frames(2, of=1)),
    "fewer-frames": lambda: tell(*frames(2, of=3)),
    "image-and-finding": mix,
    "finding-for-no-uid": lambda: state(1, uid="Jane Doe"),
    "finding-in-words": lambda: state(1, code="SCT:Jane Doe"),
    "finding-of-a-flaw-unheard-of": lambda: state(1, flaws=("biased",)),
    "many-findings": lambda: state(MAX_FINDINGS + 1),
    "markup": lambda: say(pack(End(reason="[/bold] no reason"))),
    "all-frames": lambda: tell(*frames(3, of=3, body_part="HAND")),
    "most-findings": lambda: state(MAX_FINDINGS),
}


def main() -> None:
    read_message(sys.stdin.buffer)
    say(pack(Hello(detector="off")))
    while (message := read_message(sys.stdin.buffer)) is not None:
        name = Path(message.decode().partition('": "')[2].rstrip('"}')).name
        misdeed = MISDEEDS.get(name)
        if misdeed:
            misdeed()
        else:
            tell(FACTS)


if __name__ == "__main__":
    main()
