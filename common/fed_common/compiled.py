"""Loops over numbers, which numba compiles for the processor at hand when they are first called.

One that names its signature is kept compiled (`fed_common.kept_code`): the next process needs neither numba
nor the time.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, update_wrapper
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from fed_common.machine_code import MachineCode, Team

Given = ParamSpec("Given")
Found = TypeVar("Found")


def compiled(
    signature: str = "", **options: object
) -> Callable[[Callable[Given, Found]], "Loop[Given, Found]"]:
    """Return what compiles a function of numbers and arrays, which runs without Python's lock.

    The signature is what the loop is called with: `const f4[:,:], f4[:], i8` are two contiguous arrays of
    float32, of which the first is only read, and an integer. Such a loop returns nothing, allocates nothing
    and raises nothing, and no array that it writes to overlaps another. Without a signature, or called with
    something else, it is compiled in each process. `options` are those of `numba.njit`. With numpy's
    `error_model`, a division by zero isn't looked for.
    """
    return lambda function: Loop(function, signature, options)


class Loop(Generic[Given, Found]):
    """A function that is compiled when it is called."""

    def __init__(self, function: Callable[Given, Found], signature: str, options: dict[str, object]) -> None:
        update_wrapper(self, function)
        self.function = cast("FunctionType", function)
        self.signature = signature
        self.options = options

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Found:
        """Run what is compiled for such arguments."""
        if self.signature and not kwargs and self.machine_code.fits(args):
            return cast("Found", self.machine_code(*args))
        found: Found = self.dispatcher(*args, **kwargs)
        return found

    def at_once(self, calls: Sequence[tuple[object, ...]], team: "Team | None") -> None:
        """Make several calls side by side, if there is a team; none writes what another touches."""
        if team and len(calls) > 1 and self.signature and all(map(self.machine_code.fits, calls)):
            self.machine_code.at_once(calls, team)
            return
        one_call: Callable[..., Found] = self
        for given in calls:
            one_call(*given)

    @cached_property
    def machine_code(self) -> "MachineCode":
        """What the loop is for its signature."""
        # LLVM takes 60 ms, which not every program needs.
        from fed_common.kept_code import kept_code  # noqa: PLC0415

        return kept_code(self)

    @cached_property
    def dispatcher(self) -> Any:  # noqa: ANN401 - numba's
        """What compiles the loop for whatever it is called with, and into loops that call it."""
        # These take 0.3 s, which kept loops don't need.
        import numba  # noqa: PLC0415

        from fed_common.machine_code import features  # noqa: PLC0415

        # At the next level loops compile for a tenth longer, and none of ours is faster.
        numba.config.OPT = type(numba.config.OPT)(2)
        numba.config.CPU_FEATURES = features()
        seen = {
            name: value.dispatcher if isinstance(value, Loop) else value
            for name, value in self._globals_used()
        }
        function = FunctionType(self.function.__code__, self.function.__globals__ | seen)
        return numba.njit(nogil=True, **self.options)(function)

    def description(self) -> Iterator[object]:
        """Yield all that its machine code depends on, but for the compiler and the processor.

        Raises:
            TypeError: it uses something of its module that isn't a number, a type, a module or a loop.
        """
        code = self.function.__code__
        options = (
            (name, sorted(value) if isinstance(value, set) else value) for name, value in self.options.items()
        )
        yield from (self.signature, *sorted(options), code.co_code, code.co_consts, code.co_names)
        yield from (code.co_varnames, code.co_exceptiontable)
        for name, value in self._globals_used():
            if isinstance(value, Loop):
                yield from value.description()
            elif isinstance(value, ModuleType):
                yield value.__name__
            elif isinstance(value, int | float | np.generic | type):
                yield name, value
            else:
                raise TypeError(f"{self.function.__name__} can't be kept: it uses {name}")

    def _globals_used(self) -> Iterator[tuple[str, Any]]:
        """Yield what its names stand for in its module."""
        of_module = self.function.__globals__
        return ((name, of_module[name]) for name in self.function.__code__.co_names if name in of_module)
