"""What the digest of the code promises: it names the code, not where it is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fed_client
import fed_common
from fed_common.code_version import SITE_PACKAGES, code_digest
from fed_common.errors import MachineError


def digest_in(folder: Path) -> str:
    """Return the digest that a process says which has the packages from `folder`."""
    program = "from fed_common.code_version import code_digest; print(code_digest())"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {program}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for package in (fed_client, fed_common):
        root = Path(str(package.__file__)).parent
        shutil.copytree(root, tmp_path / root.name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_same_code_elsewhere_has_the_same_digest(copied: Path) -> None:
    assert digest_in(copied) == code_digest()


@pytest.mark.parametrize("package", SITE_PACKAGES)
def test_one_byte_of_either_package_changes_the_digest(copied: Path, package: str) -> None:
    with (copied / package / "py.typed").open("a") as file:
        file.write("#")

    assert digest_in(copied) != code_digest()


def test_a_package_that_is_not_there_is_refused() -> None:
    with pytest.raises(MachineError, match="no_such_package"):
        code_digest(("no_such_package",))
