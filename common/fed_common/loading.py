"""Imports a program while its loops are compiled; both take more than a second."""

import gc
from collections.abc import Callable, Sequence
from importlib import import_module
from threading import Thread


def loaded(place: str, *, loops: Sequence[str] = ()) -> Callable[..., None]:
    """Return the function that `place` names: module and name, with a colon between.

    Meanwhile a thread compiles the loops of the modules in `loops` (`fed_common.compiled`), which need no
    torch. It has ended when this returns: the caller may fork.
    """
    module, name = place.split(":")
    compiling = Thread(target=_compile, args=(loops,))
    # Nothing of what is imported is garbage; to look for it takes a tenth of the time.
    gc.disable()
    try:
        if loops:
            compiling.start()
        found: Callable[..., None] = getattr(import_module(module), name)
    finally:
        if loops:
            compiling.join()
        gc.enable()
    return found


def _compile(modules: Sequence[str]) -> None:
    # Not imported above: numba takes 0.3 s, also where there is nothing to compile.
    import_module("fed_common.compiled").compile_ahead(modules)
