"""Says beside every figure which code it comes from."""

import subprocess
from functools import cache
from pathlib import Path


@cache
def commit() -> str:
    """Return the commit of the code that runs, with a plus where it was changed since."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
        cwd=here,
        capture_output=True,
        check=False,
    )
    return described.stdout.decode().strip() or "unknown"
