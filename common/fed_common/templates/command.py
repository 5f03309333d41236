"""`fed-server task` and `fed-client task`."""

from pathlib import Path
from typing import Annotated

import typer

from fed_common.templates import list_or_write


def task(
    name: Annotated[str | None, typer.Argument(help="Which; without it, all are listed.")] = None,
    out: Annotated[Path, typer.Option(help="A new file for the task.")] = Path("task.toml"),
) -> None:
    """List the tasks that come with the program, or write one as a task.toml to start from."""
    typer.echo(list_or_write(name, out))
