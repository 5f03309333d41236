"""Imports a program, which takes more than a second."""

import gc
from collections.abc import Callable
from importlib import import_module


def loaded(place: str) -> Callable[..., None]:
    """Return the function that `place` names: module and name, with a colon between."""
    module, name = place.split(":")
    # Nothing of what is imported is garbage; to look for it takes a tenth of the time.
    gc.disable()
    try:
        found: Callable[..., None] = getattr(import_module(module), name)
    finally:
        gc.enable()
    return found
