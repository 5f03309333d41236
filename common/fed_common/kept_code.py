"""Keeps what loops are compiled to where Python keeps bytecode.

A file holds a digest of all that made it, one of what follows, and an object file as compilers of C write
them. numba's own cache holds pickles. Whoever can put another object file there can put other bytecode.
"""

from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import numpy as np

from fed_common import compiled, machine_code
from fed_common.compiled import Loop
from fed_common.errors import MachineError
from fed_common.files import write_atomically
from fed_common.machine_code import MachineCode, Parameter, object_file, parameters_of, processor

_DIGEST_BYTES = sha256().digest_size


def kept_code(loop: Loop[..., Any]) -> MachineCode:
    """Return a loop's machine code; what isn't kept for this source and processor is compiled, and kept."""
    parameters = parameters_of(loop.signature)
    made_of = (*loop.description(), _compiler(), *processor())
    key = sha256(repr(made_of).encode()).digest()
    path = kept_at(loop)
    code = _read(path, key)
    if code is None:
        code = object_file(_of_llvm(loop, parameters), parameters)
        with suppress(MachineError):  # somebody else's folder: each process compiles
            write_atomically(path, key + sha256(code).digest() + code)
    return MachineCode(code, parameters)


def kept_at(loop: Loop[..., Any]) -> Path:
    """Return where a loop's machine code is kept."""
    bytecode = Path(cache_from_source(loop.function.__code__.co_filename))
    return bytecode.with_suffix(f".{loop.function.__name__}.o")


@cache
def _compiler() -> tuple[str, str]:
    """Return numba's version and a digest of what calls it."""
    own = (compiled.__file__, machine_code.__file__, __file__)
    return version("numba"), sha256(b"".join(Path(file).read_bytes() for file in own)).hexdigest()


def _read(path: Path, key: bytes) -> bytes | None:
    """Return the object file in `path`, if it was made by `key` and is whole."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    made_of, digest, code = (
        raw[:_DIGEST_BYTES],
        raw[_DIGEST_BYTES : 2 * _DIGEST_BYTES],
        raw[2 * _DIGEST_BYTES :],
    )
    return code if made_of == key and digest == sha256(code).digest() else None


def _of_llvm(loop: Loop[..., Any], parameters: tuple[Parameter, ...]) -> str:
    """Return numba's code of the loop, in LLVM's language."""
    # These take 0.3 s, and nothing is kept yet.
    from numba import from_dtype  # noqa: PLC0415
    from numba.core import compiler, types  # noqa: PLC0415
    from numba.core.registry import cpu_target  # noqa: PLC0415

    flags = compiler.Flags()
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    cpu_target.options.parse_as_flags(flags, {**loop.dispatcher.targetoptions, **wrappers, "_nrt": False})
    # Arrays don't overlap: a convolution that has to find out takes a quarter longer.
    flags.noalias = True
    numbers = [from_dtype(np.dtype(parameter.kind)) for parameter in parameters]
    result = compiler.compile_extra(
        cpu_target.typing_context,
        cpu_target.target_context,
        loop.dispatcher.py_func,
        args=tuple(
            types.Array(number, parameter.dimensions, "C", readonly=parameter.constant)
            if parameter.dimensions
            else number
            for number, parameter in zip(numbers, parameters, strict=True)
        ),
        return_type=types.none,
        flags=flags,
        locals={},
    )
    code: str = result.library.get_llvm_str()
    return code
