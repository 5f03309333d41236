"""A command line that imports a command when it is called: help needs none, and each only what is its own."""

from collections.abc import Mapping
from typing import NamedTuple

import click
import typer
from typer.core import TyperGroup

from fed_common.loading import loaded


class Command(NamedTuple):
    """Where a function or a Typer of its own is (`fed_common.loading`), and the first words of its help."""

    place: str
    help: str


def command_line(program: str, about: str, commands: Mapping[str, Command]) -> typer.Typer:
    """Return the program's command line, with the commands in their order."""

    class Group(TyperGroup):
        """Knows the commands' names and help; `resolve_command` gets the one that is called."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(commands)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            command = commands.get(cmd_name)
            return click.Command(cmd_name, help=command.help) if command else None

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            name, found, rest = super().resolve_command(ctx, args)
            return name, _loaded_command(name, commands[name]) if name else found, rest

    app = _typer(name=program, cls=Group, help=about, no_args_is_help=True)
    app.callback()(_nothing)
    return app


def _loaded_command(name: str, command: Command) -> click.Command:
    """Return the command itself."""
    found = loaded(command.place)
    around = _typer()
    around.callback()(_nothing)  # one command is a group, too
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    group = typer.main.get_group(around)
    return group.commands[name]


def _typer(**options: object) -> typer.Typer:
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, **options)  # type: ignore[arg-type]


def _nothing() -> None: ...
