"""Loops over numbers, which numba compiles for the processor at hand when they are first called.

They aren't cached on disk: numba would write pickles there.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

# At the next level loops compile for a tenth longer, and none of ours is faster.
numba.config.OPT = type(numba.config.OPT)(2)

Given = ParamSpec("Given")
Found = TypeVar("Found")


def compiled(**options: object) -> Callable[[Callable[Given, Found]], Callable[Given, Found]]:
    """Return what compiles a function of numbers and arrays, which runs without Python's lock.

    `options` are those of `numba.njit`. With numpy's `error_model`, a division by zero isn't looked for.
    """
    decorator: Callable[[Callable[Given, Found]], Callable[Given, Found]] = numba.njit(nogil=True, **options)
    return decorator
