"""Task files to start from, one for each application, so that nobody begins with an empty page."""

from pathlib import Path

from fed_common.errors import ConfigError, MachineError

_HERE = Path(__file__).parent


def template_names() -> tuple[str, ...]:
    """Return the names of all templates, sorted."""
    return tuple(sorted(path.stem for path in _HERE.glob("*.toml")))


def template(name: str) -> bytes:
    """Return the text of a template, with its comments.

    Raises:
        ConfigError: there is no template of this name.
    """
    # Compared, not opened: a name may not lead out of this folder.
    if name not in template_names():
        raise ConfigError(f"there is no template {name[:80]!r}; there are {', '.join(template_names())}")
    return (_HERE / f"{name}.toml").read_bytes()


def list_or_write(name: str | None, out: Path) -> str:
    """Write a template to the new file `out`, or list them all without a name; return what to tell.

    Raises:
        ConfigError: there is no such template, or `out` exists; a task somebody has changed is kept.
        MachineError: the disk refuses.
    """
    if name is None:
        width = max(map(len, template_names()))
        return "\n".join(f"{name:{width}}  {_first_line(name)}" for name in template_names())
    text = template(name)
    try:
        with out.open("xb") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{out}: is there already; a task file is never overwritten") from None
    except OSError as error:
        raise MachineError(f"{out}: can't be written ({error.strerror})") from error
    return f"{out}: written; read it, change it, then give the same file to everybody"


def _first_line(name: str) -> str:
    return template(name).decode().partition("\n")[0].removeprefix("# ")
