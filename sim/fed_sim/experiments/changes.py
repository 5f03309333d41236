"""Changes a scenario by dotted keys or partial tables, checked as if its file said so."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from pydantic import JsonValue

from fed_common.config import checked
from fed_common.errors import ConfigError
from fed_sim.experiments.tables import Changes
from fed_sim.scenario import Scenario

# What makes hospitals and networks; changed, it is another study, not another method in one.
_FIXED = frozenset(("name", "model", "data", "partition", "comparison", "faults"))


def changed(scenario: Scenario, changes: Changes, *, name: str) -> Scenario:
    """Return the scenario with the method's changes.

    Raises:
        ConfigError: a key or value is not allowed, or belongs to the study.
    """
    fixed = sorted(_FIXED & changes.keys())
    if fixed:
        raise ConfigError(f"method {name} can't change {', '.join(fixed)}: that is another scenario")
    before = scenario.model_dump(mode="json", exclude_unset=True)
    return checked(_merged(before, changes), Scenario, source=f"scenario {scenario.name}, method {name}")


def _merged(table: Mapping[str, JsonValue], changes: Changes) -> dict[str, JsonValue]:
    merged = dict(table)
    for key, change in changes.items():
        standing = merged.get(key)
        if isinstance(change, dict) and isinstance(standing, dict) and not _is_another(standing, change):
            merged[key] = _merged(standing, change)
        else:
            merged[key] = change
    return merged


def _is_another(standing: Mapping[str, JsonValue], change: Changes) -> bool:
    """Tell whether a table is named anew, so that the keys of the one before don't belong to it."""
    return "name" in change and change["name"] != standing.get("name")


def swept(settings: Sequence[str]) -> dict[str, dict[str, JsonValue]]:
    """Return a method for each combination of `key=value,value...`, named by what it sets.

    Raises:
        ConfigError: a setting has another form.
    """
    axes = [list(_axis(setting)) for setting in settings]
    methods: dict[str, dict[str, JsonValue]] = {}
    for chosen in product(*axes):
        changes: dict[str, JsonValue] = {}
        for key, value, _ in chosen:
            changes = _merged(changes, _nested(key, value))
        methods[", ".join(f"{key}={text}" for key, _, text in chosen)] = changes
    return methods


def _axis(setting: str) -> Iterator[tuple[str, JsonValue, str]]:
    key, equals, values = setting.partition("=")
    if not (key and equals and all(values.split(","))):
        raise ConfigError(f"a setting must be key=value,value... like training.rounds=5,10, got {setting!r}")
    for text in values.split(","):
        yield key, _value(text), text


def _value(text: str) -> JsonValue:
    """Return a number, true or false as what it is, everything else as text."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def _nested(key: str, value: JsonValue) -> dict[str, JsonValue]:
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}
