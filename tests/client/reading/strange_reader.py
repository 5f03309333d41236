"""A reading process that a file has taken over: the name of the file says what it does."""

import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.client.reading.source_images import FACTS

from fed_client.reading.wire import End, Hello, Picture, pack, read_message

PICTURE = pack(Picture(text="none", facts=FACTS))


def say(message: bytes) -> None:
    sys.stdout.buffer.write(message)
    sys.stdout.buffer.flush()


def stop_in_the_pixels() -> None:
    say(PICTURE + bytes(10))
    os._exit(0)


def never_end() -> None:
    while True:
        say(PICTURE + bytes(2 * 32 * 32))


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
            say(pack(Picture(text="none", facts=FACTS), np.full((1, 32, 32), 7, np.uint16)))
            say(pack(End(reason="")))


if __name__ == "__main__":
    main()
