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

Intensity = Literal["window", "percentile", "fixed"]
Frames = Literal["each", "first", "middle"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an image becomes a tensor of shape (channels, size, size).

    `intensity` says what black and white are: the file's own window (its first, or the one called
    `window_name`); the 1st and 99th percentile of the image, where windows can't be trusted; or the
    fixed window `window_centre`, `window_width` in real units, as Hounsfield units for CT. `crop` is the
    fraction of each side that is kept, around the centre. `frames` says which pictures of a multi-frame
    file are examples.
    """

    size: int = 32
    channels: Literal[1, 3] = 1
    intensity: Intensity = "window"
    window_name: str = ""
    window_centre: float = 0.0
    window_width: float = 1.0
    crop: float = 1.0
    frames: Frames = "each"

    @property
    def digest(self) -> Digest:
        """Identify the recipe; tensors made by another one are another data set."""
        return canonical.digest(self)


@dataclass(frozen=True, kw_only=True)
class ClassCodes:
    """The codes, written SCHEME:VALUE, by which reports and headers name a class."""

    name: str
    codes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task: `classes` in label order, one of them the positive finding.

    With `multi_label` an image can show any number of the classes, otherwise exactly one. Only images of
    `modalities` and `views` are learnt from; empty means any.
    """

    name: str
    classes: tuple[str, ...]
    positive: str
    recipe: Recipe
    multi_label: bool = False
    modalities: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    codes: tuple[ClassCodes, ...] = ()

    @property
    def digest(self) -> Digest:
        """Identify the task across the consortium."""
        return canonical.digest(self)

    @property
    def positive_index(self) -> int:
        """Return the label of the positive class."""
        return self.classes.index(self.positive)


class _RecipeTable(ConfigTable):
    size: Annotated[int, Field(ge=16, le=1024)] = 32
    channels: Literal[1, 3] = 1
    intensity: Intensity = "window"
    window_name: Annotated[str, Field(max_length=64)] = ""
    window_centre: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    window_width: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    frames: Frames = "each"

    @model_validator(mode="after")
    def _window_fits_intensity(self) -> "_RecipeTable":
        if self.intensity == "fixed" and not {"window_centre", "window_width"} <= self.model_fields_set:
            raise ValueError("intensity = 'fixed' needs window_centre and window_width")
        if self.intensity != "window" and self.window_name:
            raise ValueError("window_name needs intensity = 'window'")
        return self


Code = Annotated[str, Field(pattern=r"^[A-Z0-9_]{1,16}:[A-Za-z0-9._-]{1,64}$")]


class _TaskFile(ConfigTable):
    name: str
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=64)]
    positive: str
    multi_label: bool = False
    modalities: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    recipe: _RecipeTable = _RecipeTable()
    codes: Annotated[dict[str, tuple[Code, ...]], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> "_TaskFile":
        if self.positive not in self.classes:
            raise ValueError(f"positive must be one of {', '.join(self.classes)}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        if not self.codes.keys() <= set(self.classes):
            raise ValueError(f"codes must be of the classes {', '.join(self.classes)}")
        every = [code for codes in self.codes.values() for code in codes]
        if len(set(every)) != len(every):
            raise ValueError("a code must stand for one class")
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
        multi_label=table.multi_label,
        modalities=table.modalities,
        views=table.views,
        codes=tuple(ClassCodes(name=name, codes=codes) for name, codes in sorted(table.codes.items())),
    )
