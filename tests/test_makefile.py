"""What a newcomer's machine may lack is said in one line before anything is installed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Stands for a Python that can do everything: its venvs hold a program that only notes what it was asked.
GOOD_PYTHON = """
case "$*" in
  "-m venv "*) mkdir -p .venv/bin && printf '#!/bin/sh\\necho "$@" >> asked\\n' > .venv/bin/python \\
    && chmod +x .venv/bin/python ;;
  *version_info*) echo 3.11 ;;
esac
"""
PLENTY = "printf 'Filesystem 1024-blocks Used Available\\n/dev/x 9000000 0 9000000\\n'"

Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "with a space"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def make(checkout: Path, tmp_path: Path) -> Make:
    """Run make on a machine that has only the named fake programs and a few real ones."""

    def run(target: str, **fakes: str) -> subprocess.CompletedProcess[str]:
        programs = tmp_path / "programs"
        shutil.rmtree(programs, ignore_errors=True)
        programs.mkdir()
        for name in ("make", "sh", "awk", "sed", "touch", "mkdir", "chmod"):
            (programs / name).symlink_to(_real(name))
        for name, script in fakes.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        return subprocess.run(
            ["make", target],
            cwd=checkout,
            env={"PATH": str(programs)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_missing_python_is_named(make: Make) -> None:
    refusal(make("demo", df=PLENTY), "python3 is missing: apt install python3")


def test_old_python_is_refused_with_its_version(make: Make) -> None:
    old = make("demo", python3="echo 3.9; exit 1", df=PLENTY)
    refusal(old, "python3 is 3.9: 3.11 or newer is needed")


def test_python_older_than_the_project_allows_is_what_the_makefile_refuses(make: Make) -> None:
    really = f'exec "{sys.executable}" -c "import sys; sys.version_info = (3, 10); $2"'
    refusal(make("test", python3=really, df=PLENTY), "python3 is 3.10: 3.11 or newer is needed")


def test_missing_venv_is_named_with_its_remedy(make: Make) -> None:
    without = f'case "$*" in *ensurepip*) exit 1 ;; esac\n{GOOD_PYTHON}'
    refusal(make("test", python3=without, df=PLENTY), "python3-venv is missing: apt install python3-venv")


def test_full_disk_is_refused_before_anything_is_written(make: Make, checkout: Path) -> None:
    full = make("demo", python3=GOOD_PYTHON, df=PLENTY.replace("0 9000000", "0 2900000"))
    refusal(full, f"{checkout}: 2 GB are free: set-up needs 3 GB")
    assert not (checkout / ".venv").exists()


def test_second_run_sets_nothing_up(make: Make, checkout: Path) -> None:
    for _ in range(2):
        assert make("demo", python3=GOOD_PYTHON, df=PLENTY).returncode == 0
    asked = (checkout / "asked").read_text().splitlines()
    assert [line.split()[1] for line in asked] == ["pip", "pip", "fed_sim", "fed_sim"]


def test_newer_lock_is_installed_before_the_next_run(make: Make, checkout: Path) -> None:
    make("setup", python3=GOOD_PYTHON, df=PLENTY)
    later = (checkout / ".venv/ready").stat().st_mtime + 1
    os.utime(checkout / "requirements.lock", (later, later))
    make("setup", python3=GOOD_PYTHON, df=PLENTY)
    assert (checkout / "asked").read_text().count("--requirement requirements.lock") == 2


def test_help_names_every_command(make: Make) -> None:
    told = make("help").stdout
    assert all(f"make {target}" in told for target in ("setup", "demo", "test", "gate", "clean"))


def refusal(ended: subprocess.CompletedProcess[str], message: str) -> None:
    """Expect the message as the first line, a failure, and nothing installed."""
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[0] == message
    assert "Setting up" not in ended.stdout


def _real(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
