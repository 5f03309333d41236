"""Reads the TOML files that people write; whatever is wrong with one becomes a single helpful line.

Each file has a pydantic model derived from `ConfigTable`: unknown keys are refused with the nearest
known one suggested, types are strict, and numbers must be finite.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from fed_common.errors import ConfigError

MAX_CONFIG_BYTES = 1 << 20


class ConfigTable(BaseModel):
    """A table of a configuration file: frozen, strict, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Config = TypeVar("Config", bound=ConfigTable)


def load_config(path: Path, schema: type[Config]) -> Config:
    """Return the file at `path`, checked against `schema`.

    Raises:
        ConfigError: the file is missing, is no TOML, or a key or value in it is not allowed.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: {len(raw)} bytes, at most {MAX_CONFIG_BYTES} are read")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from error
    return checked(table, schema, source=str(path))


def checked(table: Mapping[str, object], schema: type[Config], *, source: str) -> Config:
    """Return the table, checked against `schema`; `source` is what an error calls it.

    Raises:
        ConfigError: a key or value in it is not allowed.
    """
    try:
        # JSON mode lets an array become a tuple and a string a path, and nothing else.
        return schema.model_validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(error, schema)}") from error


def _first_problem(error: ValidationError, schema: type[BaseModel]) -> str:
    problems = error.errors(include_url=False)
    # A misspelt key is also a missing one; the misspelling is the one to tell.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(schema, problem["loc"][:-1])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(sorted(known))}"
        return f"unknown key {where!r}; {hint}"
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = problem["input"]
    shown = f", got {got!r}" if isinstance(got, str | int | float | bool) else ""
    return f"{where + ': ' if where else ''}{message}{shown}"


def _known_keys(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at `location` allows; where a name chooses among tables, it is in it."""
    tables = [schema]
    for part in location:
        named = [table for table in tables if _is_named(table, part)]
        inside = [
            found
            for table in tables
            if isinstance(part, str) and part in table.model_fields
            for found in _tables_in(table.model_fields[part])
        ]
        tables = named or inside or tables
    return list(tables[0].model_fields)


def _is_named(table: type[BaseModel], name: int | str) -> bool:
    field = table.model_fields.get("name")
    return field is not None and name in get_args(field.annotation)


def _tables_in(field: FieldInfo) -> list[type[BaseModel]]:
    """Return the table types inside a field's annotation, through tuples, optionals and choices."""
    pending, tables = [field.annotation], []
    while pending:
        candidate = pending.pop()
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            tables.append(candidate)
        pending.extend(get_args(candidate))
    return tables
