"""A loop that names its signature is compiled once, not in each process, and never from what is broken."""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fed_common import kept_code
from fed_common.compiled import Loop, compiled
from fed_common.machine_code import object_file, parameters_of

SOURCE = """
import math
import numpy as np
from fed_common.compiled import compiled

FACTOR = 3.0

@compiled(inline="always")
def times(value, factor):
    return value * factor

@compiled("const f4[:,:], i8, f8, f4, f8[:]", error_model="numpy")
def loop(values_NP, row, shift, scale, written_P):
    for place in range(values_NP.shape[1]):
        written_P[place] = times(math.sqrt(np.float64(values_NP[row, place])), FACTOR) + shift * scale
"""
VALUES_NP = np.arange(12, dtype=np.float32).reshape(3, 4)
EXPECTED_P = np.sqrt(VALUES_NP[2].astype(float)) * 3 + 0.5 * 4
PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
import loops
written_P = np.empty(4)
loops.loop(np.arange(12, dtype=np.float32).reshape(3, 4), 2, 0.5, np.float32(4), written_P)
print("numba" in sys.modules, written_P.tolist())
"""

Call = Callable[..., None]


def loop_in(folder: Path, source: str = SOURCE) -> Loop[..., None]:
    """Return the loop of a new module, as another process would get it."""
    file = folder / "loops.py"
    file.write_text(source)
    spec = spec_from_file_location("loops", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    loop: Loop[..., None] = module.loop
    return loop


def written_by(loop: Loop[..., None]) -> list[float]:
    """Return what the loop writes."""
    written_P = np.empty(4)
    loop(VALUES_NP, 2, 0.5, np.float32(4), written_P)
    found: list[float] = written_P.tolist()
    return found


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which loops were compiled to be kept."""
    seen: list[str] = []
    compile_it = kept_code._of_llvm

    def counted(loop: Loop[..., Any], parameters: Any) -> str:
        seen.append(loop.function.__name__)
        return compile_it(loop, parameters)

    monkeypatch.setattr(kept_code, "_of_llvm", counted)
    return seen


def test_the_second_process_compiles_nothing(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text(SOURCE)
    program = [sys.executable, "-c", PROGRAM.format(folder=str(tmp_path))]
    first, second = (
        subprocess.run(program, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert first == f"True {EXPECTED_P.tolist()}\n"
    assert second == f"False {EXPECTED_P.tolist()}\n"


@pytest.mark.parametrize(
    ("before", "after", "factor"),
    [
        ("FACTOR = 3.0", "FACTOR = 15.0", 15),  # of another size, for Python's bytecode looks at seconds
        ("return value * factor", "return value * factor * 2", 6),
        ("FACTOR)", "FACTOR + 4)", 7),
    ],
    ids=["number", "inlined", "loop"],
)
def test_another_source_is_compiled_anew(
    tmp_path: Path, compilations: list[str], before: str, after: str, factor: float
) -> None:
    written_by(loop_in(tmp_path))
    changed = SOURCE.replace(before, after)
    found = written_by(loop_in(tmp_path, changed))
    assert found == (np.sqrt(VALUES_NP[2].astype(float)) * factor + 2).tolist()
    written_by(loop_in(tmp_path, changed))
    assert compilations == ["loop", "loop"]


def test_another_processor_is_compiled_for(
    tmp_path: Path, compilations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written_by(loop_in(tmp_path))
    monkeypatch.setattr(kept_code, "processor", lambda: ("another",))
    written_by(loop_in(tmp_path))
    assert compilations == ["loop", "loop"]


@pytest.mark.parametrize("place", [0, 40, 100, -1, None], ids=str)
def test_a_broken_file_is_replaced(tmp_path: Path, compilations: list[str], place: int | None) -> None:
    kept = kept_code.kept_at(loop_in(tmp_path))
    written_by(loop_in(tmp_path))
    broken = bytearray(kept.read_bytes())
    if place is None:
        del broken[len(broken) // 2 :]
    else:
        broken[place] ^= 1
    kept.write_bytes(broken)

    for _ in range(2):
        assert written_by(loop_in(tmp_path)) == EXPECTED_P.tolist()
    assert compilations == ["loop", "loop"]


def test_a_folder_that_nothing_can_be_written_to_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_text("a file, no folder")
    assert written_by(loop_in(tmp_path)) == EXPECTED_P.tolist()


@pytest.mark.parametrize(
    "values",
    [
        VALUES_NP.astype(np.float64),
        np.asfortranarray(VALUES_NP),
        np.repeat(VALUES_NP, 2, axis=1)[:, ::2],
        np.frombuffer(b"." + VALUES_NP.tobytes(), dtype=np.float32, offset=1).reshape(3, 4),
    ],
    ids=["float64", "columns first", "every second", "misaligned"],
)
def test_what_it_is_not_compiled_for_goes_to_numba(tmp_path: Path, values: np.ndarray[Any, Any]) -> None:
    loop = loop_in(tmp_path)
    written_P = np.empty(4)
    loop(values, 2, 0.5, np.float32(4), written_P)
    assert written_P.tolist() == EXPECTED_P.tolist()
    assert len(loop.dispatcher.signatures) == 1


def test_only_what_is_const_may_be_read_only(tmp_path: Path) -> None:
    loop = loop_in(tmp_path)
    written_P, values_NP = np.empty(4), VALUES_NP.copy()
    values_NP.flags.writeable = False
    loop(values_NP, 2, 0.5, np.float32(4), written_P)
    assert written_P.tolist() == EXPECTED_P.tolist()
    assert not loop.dispatcher.signatures
    written_P.flags.writeable = False
    with pytest.raises(Exception, match="readonly array"):
        loop(values_NP, 2, 0.5, np.float32(4), written_P)


class OneAfterTheOther:
    """A team whose threads are played by this one."""

    def __init__(self, size: int) -> None:
        """Set up what tells a thread its number, and how many there are."""
        number = ctypes.CFUNCTYPE(ctypes.c_int)
        self._size, self._current = size, 0
        self._kept = number(lambda: self._current), number(lambda: size)
        self.number_of_this, self.how_many = (
            ctypes.cast(one, ctypes.c_void_p).value or 0 for one in self._kept
        )

    def run(self, function: int, given: bytes, threads: int) -> None:
        """Play thread by thread, however many are asked for."""
        assert threads == 5
        for number in range(self._size):
            self._current = number
            ctypes.CFUNCTYPE(None, ctypes.c_char_p)(function)(given)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_team_makes_every_call(tmp_path: Path, size: int) -> None:
    loop = loop_in(tmp_path)
    written_CP = np.full((5, 4), np.nan)
    scales = [np.float32(call) for call in range(5)]
    loop.at_once(
        [(VALUES_NP, call % 3, 0.5, scales[call], written_CP[call]) for call in range(5)],
        OneAfterTheOther(size),
    )
    expected_CP = [np.sqrt(VALUES_NP[call % 3].astype(float)) * 3 + 0.5 * call for call in range(5)]
    assert written_CP.tolist() == np.array(expected_CP).tolist()
    assert not loop.dispatcher.signatures


@pytest.mark.parametrize("values", [VALUES_NP, VALUES_NP.astype(np.float64)], ids=["fits", "float64"])
def test_without_a_team_or_what_fits_calls_are_made_in_turn(
    tmp_path: Path, values: np.ndarray[Any, Any]
) -> None:
    loop = loop_in(tmp_path)
    written_CP = np.empty((2, 4))
    calls = [(values, 2, 0.5, np.float32(4), written_P) for written_P in written_CP]
    loop.at_once(calls, None if values is VALUES_NP else OneAfterTheOther(2))
    assert written_CP.tolist() == [EXPECTED_P.tolist()] * 2


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("const f4[:,:]", "f4[:,:]", None),
        ("f8[:]", "const f8[:]", "readonly array"),
        ("    for place", "    if row < 0:\n        raise ValueError\n    for place", "raises no exception"),
        ("    for place", "    return row\n    for place", "none"),
        ("FACTOR = 3.0", "FACTOR = [3.0]", "can't be kept: it uses FACTOR"),
        ("const f4[:,:], i8", "const f4[:,:], i4", "i4"),
    ],
    ids=["not const", "written const", "raises", "returns", "list", "unknown number"],
)
def test_what_can_not_be_kept_is_refused(tmp_path: Path, before: str, after: str, words: str | None) -> None:
    loop = loop_in(tmp_path, SOURCE.replace(before, after))
    if words is None:
        assert written_by(loop) == EXPECTED_P.tolist()
    else:
        with pytest.raises(Exception, match=words):
            written_by(loop)


def test_a_numba_that_calls_otherwise_is_refused(tmp_path: Path) -> None:
    parameters = parameters_of("const f4[:,:], i8, f8, f4, f8[:]")
    code = kept_code._of_llvm(loop_in(tmp_path), parameters)
    with pytest.raises(TypeError, match="isn't called with"):
        object_file(code, parameters[:-1])


@compiled(error_model="numpy")
def doubled(values_P: np.ndarray[Any, Any]) -> float:
    """Return twice the sum."""
    return 2 * float(values_P.sum())


def test_without_a_signature_nothing_is_kept() -> None:
    assert doubled(VALUES_NP[0]) == 12
    assert not kept_code.kept_at(doubled).exists()
