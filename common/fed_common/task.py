"""What is learnt: the classes and the recipe that turns an image into a tensor, the same at every site.

The task file is shared by the consortium. Its digest travels in every round's plan, so that a site whose
classes or recipe differ refuses instead of training on something else.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fed_common import canonical
from fed_common.config import ConfigTable, load_config
from fed_common.names import Digest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an image becomes a tensor of shape (channels, size, size).

    `intensity` says what black and white are: the file's own window, or the 1st and 99th percentile of
    the image (for scanners whose windows can't be trusted).
    """

    size: int = 32
    channels: Literal[1, 3] = 1
    intensity: Literal["window", "percentile"] = "window"

    @property
    def digest(self) -> Digest:
        """Identify the recipe; tensors made by another one are another data set."""
        return canonical.digest(self)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task: `classes` in label order, one of them the positive finding."""

    name: str
    classes: tuple[str, ...]
    positive: str
    recipe: Recipe

    @property
    def digest(self) -> Digest:
        """Identify the task across the consortium."""
        return canonical.digest(self)

    @property
    def positive_index(self) -> int:
        """Return the label of the positive class."""
        return self.classes.index(self.positive)


class _RecipeTable(ConfigTable):
    size: Literal[32] = 32
    channels: Literal[1, 3] = 1
    intensity: Literal["window", "percentile"] = "window"


class _TaskFile(ConfigTable):
    name: str
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=64)]
    positive: str
    recipe: _RecipeTable = _RecipeTable()

    @model_validator(mode="after")
    def _positive_is_a_class(self) -> "_TaskFile":
        if self.positive not in self.classes:
            raise ValueError(f"positive must be one of {', '.join(self.classes)}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        return self


def load_task(path: Path) -> Task:
    """Return the task described in the TOML file at `path`.

    Raises:
        ConfigError: the file is missing or says something a task can't be.
    """
    table = load_config(path, _TaskFile)
    return Task(
        name=table.name,
        classes=table.classes,
        positive=table.positive,
        recipe=Recipe(**table.recipe.model_dump()),
    )
