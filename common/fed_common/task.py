"""What is learnt: the classes and the recipe that turns an image into a tensor, the same at every site.

The task file is shared by the consortium. Its digest travels in every round's plan, so that a site whose
classes or recipe differ refuses instead of training on something else.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from fed_common import canonical
from fed_common.config import ConfigTable, load_config
from fed_common.names import Digest

Intensity = Literal["window", "percentile", "fixed"]
Frames = Literal["each", "first", "middle"]
ModelName = Literal[
    "seed-cnn",
    "resnet-18",
    "resnet-18-ws",
    "scattering",
    "scattering-for-few",
    "breast-ultrasound",
    "linear",
    "perceptron",
]

# No semicolon, which separates classes in a label file, and nothing that a spreadsheet takes for a formula.
_NAME = re.compile(r"\w(?:[\w .,:/()'+-]{0,62}[\w)])?")
_TERM = re.compile(r"[A-Z0-9]{1,16}")
CODE = re.compile(r"[A-Z0-9_]{1,16}:[A-Za-z0-9._-]{1,64}")


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
    `modalities` and `views`, in DICOM's terms, are learnt from; empty means any. `codes` are sorted, so
    that two ways to write the same task are the same task. `model` is the network that learns it.
    """

    name: str
    classes: tuple[str, ...]
    positive: str
    recipe: Recipe
    model: ModelName = "seed-cnn"
    multi_label: bool = False
    modalities: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    codes: tuple[ClassCodes, ...] = ()

    @property
    def digest(self) -> Digest:
        """Identify what is learnt from which images, across the consortium.

        The network isn't part of it: plans name that by its own fingerprint, and a registered data set
        serves any.
        """
        return canonical.digest(replace(self, model="seed-cnn"))

    @property
    def positive_index(self) -> int:
        """Return the label of the positive class."""
        return self.classes.index(self.positive)


class _RecipeTable(ConfigTable):
    size: Annotated[int, Field(ge=16, le=1024)] = 32
    channels: Literal[1, 3] = 1
    intensity: Intensity = "window"
    window_name: Annotated[str, Field(max_length=64)] = ""
    window_centre: float = 0.0
    window_width: Annotated[float, Field(gt=0)] = 1.0
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    frames: Frames = "each"

    @model_validator(mode="after")
    def _window_fits_intensity(self) -> "_RecipeTable":
        stated = {"window_centre", "window_width"} & self.model_fields_set
        if self.intensity == "fixed" and len(stated) < 2:
            raise ValueError("intensity = 'fixed' needs window_centre and window_width")
        if self.intensity != "fixed" and stated:
            raise ValueError("window_centre and window_width need intensity = 'fixed'")
        if self.intensity != "window" and self.window_name:
            raise ValueError("window_name needs intensity = 'window'")
        return self


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("must be 1 to 64 letters, digits, blanks or .,:/()'+-, the first a letter or digit")
    return text


def _term(text: str) -> str:
    if not _TERM.fullmatch(text):
        raise ValueError("must be one of DICOM's terms: 1 to 16 capital letters or digits")
    return text


def _code(text: str) -> str:
    if not CODE.fullmatch(text):
        raise ValueError("must be SCHEME:VALUE, as in SCT:233604007")
    return text


_Name = Annotated[str, AfterValidator(_name)]
_Term = Annotated[str, AfterValidator(_term)]
_Code = Annotated[str, AfterValidator(_code)]


class _TaskFile(ConfigTable):
    name: _Name
    classes: Annotated[tuple[_Name, ...], Field(min_length=2, max_length=64)]
    positive: str
    model: ModelName = "seed-cnn"
    multi_label: bool = False
    modalities: tuple[_Term, ...] = ()
    views: tuple[_Term, ...] = ()
    recipe: _RecipeTable = _RecipeTable()
    codes: Annotated[
        dict[str, Annotated[tuple[_Code, ...], Field(min_length=1)]], Field(default_factory=dict)
    ]

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> "_TaskFile":
        if self.positive not in self.classes:
            raise ValueError(f"positive must be one of {', '.join(self.classes)}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        for terms, name in ((self.modalities, "modalities"), (self.views, "views")):
            if len(set(terms)) != len(terms):
                raise ValueError(f"{name} must differ from each other")
        return self

    @model_validator(mode="after")
    def _codes_fit_classes(self) -> "_TaskFile":
        if not self.codes.keys() <= set(self.classes):
            raise ValueError(f"codes must be of the classes {', '.join(self.classes)}")
        every = [code for codes in self.codes.values() for code in codes]
        if len(set(every)) != len(every):
            raise ValueError("a code must stand for one class")
        missing = [name for name in self.classes if name not in self.codes]
        if self.codes and missing and not self.multi_label:
            # Otherwise an image without a finding would never get a label, and nobody would notice.
            raise ValueError(f"codes must name every class, also the one without a finding: {missing[0]}")
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
        model=table.model,
        multi_label=table.multi_label,
        modalities=tuple(sorted(table.modalities)),
        views=tuple(sorted(table.views)),
        codes=tuple(
            ClassCodes(name=name, codes=tuple(sorted(codes))) for name, codes in sorted(table.codes.items())
        ),
    )
