"""Loops over numbers, which numba compiles for the processor at hand when they are first called.

They aren't cached on disk: numba would write pickles there. Those that name their signature can be compiled
ahead, while something else is imported (`fed_common.loading`).
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import ParamSpec, TypeVar

import numba
from numba.core.dispatcher import Dispatcher

# At the next level loops compile for a tenth longer, and none of ours is faster.
numba.config.OPT = type(numba.config.OPT)(2)

Given = ParamSpec("Given")
Found = TypeVar("Found")

_ahead: list[tuple[Dispatcher, str]] = []


def compiled(
    *, ahead: str = "", **options: object
) -> Callable[[Callable[Given, Found]], Callable[Given, Found]]:
    """Return what compiles a function of numbers and arrays, which runs without Python's lock.

    `ahead` is the signature, as numba writes it, of what it is called with; without one, or called with
    something else, it is compiled when it is called. `options` are those of `numba.njit`. With numpy's
    `error_model`, a division by zero isn't looked for.
    """
    decorator: Callable[[Callable[Given, Found]], Dispatcher] = numba.njit(nogil=True, **options)

    def decorated(function: Callable[Given, Found]) -> Callable[Given, Found]:
        loop = decorator(function)
        if ahead:
            _ahead.append((loop, ahead))
        return loop

    return decorated


def compile_ahead(modules: Sequence[str]) -> None:
    """Compile the loops of the modules that name their signature."""
    for module in modules:
        import_module(module)
    for loop, signature in _ahead:
        if loop.__module__ in modules:
            loop.compile(signature)
