"""The loops of virtual sites are compiled while torch is imported, for what they are called with."""

import gc
import subprocess
import sys

import pytest

from fed_common.loading import loaded
from fed_sim.engine import loops

# Compiled ahead without torch; then, after a run that needs no other signature.
PROGRAM = """
import sys
from importlib import import_module
from fed_common import compiled
from fed_common.loading import loaded

modules, private = sys.argv[4].split(","), sys.argv[5] == "private"
for module in modules:
    import_module(module)
assert "torch" not in sys.modules
run = loaded("fed_sim.bench.simulate.ours:run", loops=modules)
called = [loop for loop, _ in compiled._ahead if loop.__module__ in modules]
ahead = [len(loop.signatures) for loop in called]
run(private=private, workers=0)
for loop, before in zip(called, ahead, strict=True):
    print(loop.__name__, before, len(loop.signatures))
"""


@pytest.mark.parametrize(
    ("modules", "kind", "expected"),
    [
        (loops.UNPROTECTED, "unprotected", 6),
        (loops.PRIVATE, "private", 8),
    ],
)
def test_a_run_calls_the_loops_with_what_they_were_compiled_for(
    modules: tuple[str, ...], kind: str, expected: int
) -> None:
    program = [sys.executable, "-W", "ignore", "-c", PROGRAM, "2", "2", "1", ",".join(modules), kind]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = [line.split()[1:3] for line in ended.stdout.splitlines() if not line.startswith("{")]
    assert found == [["1", "1"]] * expected


def test_what_can_not_be_imported_leaves_the_collector_on() -> None:
    with pytest.raises(ModuleNotFoundError):
        loaded("fed_sim.nowhere:main")
    assert gc.isenabled()
