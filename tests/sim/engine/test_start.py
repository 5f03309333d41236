"""A virtual run starts without numba, whose loops are kept from one process to the next."""

import gc
import subprocess
import sys

import pytest

from fed_common.loading import loaded

PROGRAM = """
import sys
from fed_common.loading import loaded
loaded("fed_sim.bench.simulate.ours:run")(private={private}, workers=0)
print("numba" in sys.modules)
"""


@pytest.mark.parametrize("private", [False, True])
def test_the_second_run_needs_no_numba(private: bool) -> None:
    program = [sys.executable, "-W", "ignore", "-c", PROGRAM.format(private=private), "2", "2", "1"]
    for _ in range(2):
        ended = subprocess.run(program, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "False"


def test_what_can_not_be_imported_leaves_the_collector_on() -> None:
    with pytest.raises(ModuleNotFoundError):
        loaded("fed_sim.nowhere:main")
    assert gc.isenabled()
