"""A command line knows its commands without importing them, and says of each what it says itself."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
import typer.main
from typer.testing import CliRunner

from fed_client.cli import app as client
from fed_common.command_line import Command, command_line
from fed_server.cli import app as server
from fed_sim.cli import app as simulation

APPS = {"fed_client": client, "fed_server": server, "fed_sim": simulation}
PROGRAM = "import sys, {module}.cli; print('torch' in sys.modules, 'flwr' in sys.modules)"


def group_of(app: typer.Typer) -> click.Group:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    return group


def commands_of(context: click.Context) -> Iterator[click.Context]:
    """Everything that can be called below a group, in a context of its own; groups within it, too."""
    group = context.command
    if not isinstance(group, click.Group):
        yield context
        return
    for name in group.list_commands(context):
        _, command, _ = group.resolve_command(context, [name])
        assert command is not None
        yield from commands_of(click.Context(command, parent=context, info_name=name))


@pytest.mark.parametrize("module", APPS)
def test_the_list_says_of_each_command_what_it_says_itself(module: str) -> None:
    group = group_of(APPS[module])
    context = click.Context(group)
    names = group.list_commands(context)
    assert len(names) > 5
    for name in names:
        listed = group.get_command(context, name)
        _, itself, rest = group.resolve_command(context, [name, "--help"])
        assert listed is not None
        assert itself is not None
        assert (itself.help or "").split("\n\n")[0].replace("\n", " ") == listed.help
        assert rest == ["--help"]


@pytest.mark.parametrize("module", APPS)
def test_every_argument_has_help(module: str) -> None:
    group = group_of(APPS[module])
    arguments = [
        (context.command_path, argument)
        for context in commands_of(click.Context(group, info_name=module))
        for argument in context.command.params
        if isinstance(argument, click.Argument)
    ]
    assert len(arguments) > 5
    for path, argument in arguments:
        assert getattr(argument, "help", None), f"{path} {argument.name}"


@pytest.mark.parametrize("module", APPS)
def test_no_command_is_imported_before_it_is_called(module: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["False", "False"]


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(simulation, ["virtuel"])
    assert result.exit_code == 2
    assert "No such command 'virtuel'" in result.output


def test_a_command_that_is_nowhere_is_an_error() -> None:
    app = command_line("fed-test", "Does nothing.", {"lost": Command("fed_common.nowhere:lost", "Nothing.")})
    assert "lost" in CliRunner().invoke(app, ["--help"]).output
    assert isinstance(CliRunner().invoke(app, ["lost"]).exception, ModuleNotFoundError)
