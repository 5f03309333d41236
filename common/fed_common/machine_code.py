"""A compiled loop as an object file, and as what Python calls once LLVM has linked it, in 0.3 ms.

numba's own way into a function looks at each argument, and needs numba. This one takes what the loop was
compiled for and nothing else, straight from numpy's arrays.
"""

import ctypes
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import count
from typing import NamedTuple, Protocol

import llvmlite.binding as llvm
import numpy as np

# What a number is to Python, ctypes, LLVM, and struct as eight bytes.
_NUMBERS: Mapping[str, tuple[type, type, str, str]] = {
    "i8": (int, ctypes.c_int64, "i64", "q"),
    "f4": (np.float32, ctypes.c_float, "float", "f4x"),
    "f8": (float, ctypes.c_double, "double", "d"),
}
# Where an array keeps its data, shape and strides: numpy's PyArrayObject, stable since numpy 1.
_DATA, _SHAPE, _STRIDES = (object.__basicsize__ + offset for offset in (0, 16, 24))
_ENTRY, _MEMBER = "entry", "member"
_LEVEL = 2
_library_numbers = count()


class Parameter(NamedTuple):
    """What a loop is called with: a number, or a contiguous array; a `const` one is only read."""

    kind: str
    dimensions: int
    constant: bool

    @property
    def in_llvm(self) -> str:
        """What it is to LLVM: an array is a pointer to numpy's object."""
        return "ptr" if self.dimensions else _NUMBERS[self.kind][2]

    def fits(self, given: object) -> bool:
        """Tell whether the loop is compiled for what is given."""
        if not self.dimensions:
            return isinstance(given, _NUMBERS[self.kind][0])
        if not isinstance(given, np.ndarray) or given.ndim != self.dimensions or given.dtype != self.kind:
            return False
        flags = given.flags
        return flags.carray or (self.constant and flags.c_contiguous and flags.aligned)


def parameters_of(signature: str) -> tuple[Parameter, ...]:
    """Return the parameters of a signature such as `const f4[:,:], f4[:], i8`."""
    found = re.findall(r"(const )?([a-z]\d)(\[[:,]+\])?", signature)
    return tuple(Parameter(kind, shape.count(":"), bool(const)) for const, kind, shape in found)


class Team(Protocol):
    """Threads that run machine code; at two addresses each is told its number, and how many there are."""

    number_of_this: int
    how_many: int

    def run(self, function: int, given: bytes, threads: int) -> None:
        """Have each of so many threads, or of fewer, call the function there with what is given."""
        ...


class MachineCode:
    """A linked loop; it runs without Python's lock."""

    def __init__(self, object_file: bytes, parameters: tuple[Parameter, ...]) -> None:
        self._parameters = parameters
        library = llvm.JITLibraryBuilder().add_object_img(object_file).add_current_process()
        # Kept: with it, the code would go.
        self._linked = (
            library.export_symbol(_ENTRY)
            .export_symbol(_MEMBER)
            .link(_linker(), f"{_ENTRY} {next(_library_numbers)}")
        )
        words = (ctypes.py_object if p.dimensions else _NUMBERS[p.kind][1] for p in parameters)
        self._run = ctypes.CFUNCTYPE(None, *words)(self._linked[_ENTRY])

    def fits(self, given: tuple[object, ...]) -> bool:
        """Tell whether the loop is compiled for what is given."""
        return len(given) == len(self._parameters) and all(map(Parameter.fits, self._parameters, given))

    def __call__(self, *given: object) -> None:
        """Run on what fits."""
        self._run(*given)

    def at_once(self, calls: Sequence[tuple[object, ...]], team: Team) -> None:
        """Run on each of those, which all fit."""
        words = "".join("q" if p.dimensions else _NUMBERS[p.kind][3] for p in self._parameters)
        listed = (
            id(one) if parameter.dimensions else one
            for given in calls
            for parameter, one in zip(self._parameters, given, strict=True)
        )
        header = (team.number_of_this, team.how_many, len(calls))
        work = struct.pack("=3q" + words * len(calls), *header, *listed)
        team.run(self._linked[_MEMBER], work, len(calls))


def object_file(code: str, parameters: tuple[Parameter, ...]) -> bytes:
    """Return what `MachineCode` links, of numba's code (LLVM's) of one function that returns nothing.

    Raises:
        TypeError: it can fail, has parts of its own, or isn't called as numba's functions are.
    """
    if ".const.pickledata" in code:
        raise TypeError("a kept loop raises no exception")
    [loop] = (function for function in llvm.parse_assembly(code).functions if not function.is_declaration)
    entry, passed = _entry(loop.name, parameters)
    if str(loop.global_value_type) != f"i32 ({passed})":
        raise TypeError(f"numba's function isn't called with ({passed}): {loop.global_value_type}")
    host = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=features(),
        opt=_LEVEL,
        reloc="pic",
        codemodel="jitdefault",
    )
    emitted: bytes = host.emit_object(llvm.parse_assembly(code + entry + _member(parameters)))
    return emitted


def features() -> str:
    """Return what the processor has, registers of 512 bits included, which LLVM avoids left to itself."""
    found: str = llvm.get_host_cpu_features().flatten()
    return f"{found},-prefer-256-bit" if "+avx512f" in found else found


def processor() -> tuple[str, ...]:
    """Return what an object file is made for."""
    return (
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        features(),
        ".".join(map(str, llvm.llvm_version_info)),
    )


def _entry(loop: str, parameters: tuple[Parameter, ...]) -> tuple[str, str]:
    """Return a function that passes its arguments on to `loop` as numba does, and the kinds passed."""
    lines, passed = ["%cell = alloca ptr"], ["ptr %cell", "ptr %cell"]  # for a result, an exception: none
    for place, parameter in enumerate(parameters):
        if not parameter.dimensions:
            passed.append(f"{_NUMBERS[parameter.kind][2]} %a{place}")
            continue
        lines += _loads(f"%a{place}", parameter.dimensions)
        axes = range(parameter.dimensions)
        size = f"%a{place}.size{parameter.dimensions}"
        # The array's owners (none), how many items of how many bytes, data, shape, strides.
        passed += ["ptr null", "ptr null", f"i64 {size}", f"i64 {parameter.kind[1:]}", f"ptr %a{place}.data"]
        passed += [f"i64 %a{place}.{part}{axis}" for part in ("shape", "strides") for axis in axes]
    head = _arguments(parameters)
    lines += [f"call i32 @{loop}({', '.join(passed)})", "ret void"]
    return (
        f"\ndefine void @{_ENTRY}({head}) {{\n  " + "\n  ".join(lines) + "\n}\n",
        ", ".join(argument.split()[0] for argument in passed),
    )


def _member(parameters: tuple[Parameter, ...]) -> str:
    """Return what each thread of a team runs: of n threads, the k-th makes the calls k, k + n, ...

    Words of eight bytes say which functions return k and n, how many calls there are, and their arguments.
    """
    loads = "".join(
        f"""
  %a{place}.at = getelementptr i64, ptr %given, i64 {place}
  %a{place} = load {parameter.in_llvm}, ptr %a{place}.at"""
        for place, parameter in enumerate(parameters)
    )
    return f"""
define void @{_MEMBER}(ptr %work) {{
start:
  %number_of_this = load ptr, ptr %work
  %how_many.at = getelementptr i64, ptr %work, i64 1
  %how_many = load ptr, ptr %how_many.at
  %calls.at = getelementptr i64, ptr %work, i64 2
  %calls = load i64, ptr %calls.at
  %all_given = getelementptr i64, ptr %work, i64 3
  %k.narrow = call i32 %number_of_this()
  %k = sext i32 %k.narrow to i64
  %n.narrow = call i32 %how_many()
  %n = sext i32 %n.narrow to i64
  br label %next
next:
  %call = phi i64 [ %k, %start ], [ %later, %run ]
  %is_one = icmp slt i64 %call, %calls
  br i1 %is_one, label %run, label %end
run:
  %words = mul i64 %call, {len(parameters)}
  %given = getelementptr i64, ptr %all_given, i64 %words{loads}
  call void @{_ENTRY}({_arguments(parameters)})
  %later = add i64 %call, %n
  br label %next
end:
  ret void
}}
"""


def _arguments(parameters: tuple[Parameter, ...]) -> str:
    return ", ".join(f"{parameter.in_llvm} %a{place}" for place, parameter in enumerate(parameters))


def _loads(array: str, dimensions: int) -> Iterator[str]:
    """Yield the lines that get an array's data, shape, strides and number of items."""
    for part, offset in (("data", _DATA), ("shapes", _SHAPE), ("stridess", _STRIDES)):
        yield f"{array}.{part}.at = getelementptr i8, ptr {array}, i64 {offset}"
        yield f"{array}.{part} = load ptr, ptr {array}.{part}.at"
    yield f"{array}.size0 = add i64 0, 1"
    for axis in range(dimensions):
        for part in ("shape", "strides"):
            yield f"{array}.{part}{axis}.at = getelementptr i64, ptr {array}.{part}s, i64 {axis}"
            yield f"{array}.{part}{axis} = load i64, ptr {array}.{part}{axis}.at"
        yield f"{array}.size{axis + 1} = mul i64 {array}.size{axis}, {array}.shape{axis}"


@cache
def _linker() -> llvm.orcjit.LLJIT:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler()
