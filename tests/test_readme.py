"""The README is true: its help texts, commands, configuration files and exit codes are the program's."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

from fed_client.cli import app as client
from fed_client.config import read_site_config
from fed_client.doctor.command import EXIT_FAILURE
from fed_common import errors
from fed_common.errors import ConfigError, FedError
from fed_server.cli import app as server
from fed_server.config import load_federation_config
from fed_sim.cli import app as simulation

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
APPS = {"fed-client": client, "fed-server": server, "fed-sim": simulation}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> Iterator[list[str]]:
    for line in "".join(blocks("shell")).splitlines():
        if line.startswith("fed-"):
            yield shlex.split(line, comments=True)


def families() -> Iterator[type[FedError]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, FedError) and value is not FedError:
            yield value


@pytest.mark.parametrize("program", APPS)
def test_the_help_in_the_readme_is_the_programs(program: str) -> None:
    module = program.replace("-", "_")
    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"},
    ).stdout.replace(f"python -m {module}", program)
    lines = "\n".join(line.rstrip() for line in shown.splitlines()).strip()
    assert lines in README, f"put this into the README:\n{lines}"


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_in_the_readme_parses(words: list[str]) -> None:
    program, *rest = words
    command: click.Command | None = typer.main.get_command(APPS[program])
    while isinstance(command, click.Group):
        _, command, rest = command.resolve_command(click.Context(command), rest)
    assert command is not None
    # Parsing refuses an unknown option or a missing argument; nothing is run.
    assert command.make_context(program, rest).params


def test_the_exit_codes_in_the_readme_are_those_of_the_errors() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    assert listed == {0, EXIT_FAILURE, *(family.exit_code for family in families())}


def test_the_configuration_files_in_the_readme_are_accepted(tmp_path: Path) -> None:
    task, federation, site = blocks("toml")
    (tmp_path / "task.toml").write_text(task)
    (tmp_path / "federation.toml").write_text(federation)
    (tmp_path / "site.toml").write_text(site)
    assert tomllib.loads(federation)["quorum"]["sites"] == 2
    assert read_site_config(tmp_path / "site.toml").name == "north"
    # All that is missing are the key files, which are read last.
    with pytest.raises(FedError, match=r"identity\.key: key file can't be read") as refused:
        load_federation_config(tmp_path / "federation.toml")
    assert not isinstance(refused.value, ConfigError)


def test_every_file_the_readme_points_to_exists() -> None:
    root = Path(__file__).parents[1]
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (root / target).exists(), target
