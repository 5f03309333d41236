"""Does something again and again in a thread of its own, for as long as a context lasts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(act: Callable[[], None], *, every_s: float, name: str) -> Iterator[None]:
    """Call `act`, which must not raise, now and every `every_s`; the end waits for a call in progress."""
    over = threading.Event()

    def loop() -> None:
        while True:
            act()
            if over.wait(every_s):
                return

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
