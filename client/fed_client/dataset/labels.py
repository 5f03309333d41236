"""Says what each image shows, from a list, from reports or from headers: the site's choice.

Nothing is guessed. An image whose label is missing, unknown or contradicted is left out and listed by a
local number. What a cell or a report says is never repeated, because it may be a patient's name.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Literal

from fed_client.images import Finding
from fed_common.task import Task

LabelKey = Literal["file", "sop_instance_uid"]
Place = Literal["line", "file"]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)  # a repr ends in a log
class Label:
    """What one image shows: `classes` by their number in the task, empty only with several labels.

    `patient` and `split` are empty where the site doesn't say; `split` is train, validation or test.
    `number` is that of the line or file that said so.
    """

    classes: frozenset[int]
    number: int
    patient: str = ""
    split: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelProblem:
    """What the data steward can mend: a line of the list from 1, or a file by its local number."""

    place: Place
    number: int
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelTable:
    """The label of each image, by its file or its SOP instance UID.

    `left_out` are the images whose labels are there and can't be used; `problems` says why. `place` is
    what the numbers in `labels` count.
    """

    key: LabelKey
    place: Place
    labels: Mapping[str, Label]
    left_out: Set[str]
    problems: tuple[LabelProblem, ...]


def labels_from_reports(findings: Iterable[tuple[int, Finding]], task: Task) -> LabelTable:
    """Return what reports say; each finding comes with the number of the report's file.

    With several labels, an image that a report is about shows none of the classes that no report states.
    UIDs are only compared: they may be keyed ones.
    """
    said: dict[str, tuple[int, set[str]]] = {}
    for number, finding in findings:
        said.setdefault(finding.sop_instance_uid, (number, set()))[1].add(finding.code)
    return _from_codes(said, task, silence_is_none=task.multi_label)


def labels_from_codes(images: Iterable[tuple[int, str, Iterable[str]]], task: Task) -> LabelTable:
    """Return what the images' own headers say; each is the number of its file, its UID and its codes.

    A header without a code of a class is no label, also with several labels: that a patient was admitted
    for something else says nothing about the image.
    """
    said: dict[str, tuple[int, set[str]]] = {}
    for number, instance, codes in images:
        said.setdefault(instance, (number, set()))[1].update(codes)
    return _from_codes(said, task, silence_is_none=False)


def uncovered(table: LabelTable, present: Iterable[str]) -> tuple[LabelProblem, ...]:
    """Return the images of `present` without a label, and the lines of the list whose image isn't present.

    `present` is by the table's key, in the order of the local numbers, which count from 0. Reports may
    well be about images elsewhere; those are no problem.
    """
    here: set[str] = set()
    problems = []
    for number, key in enumerate(present):
        here.add(key)
        if key not in table.labels and key not in table.left_out:
            problems.append(LabelProblem(place="file", number=number, reason="there is no label for it"))
    if table.place == "line":
        problems += [
            LabelProblem(place="line", number=label.number, reason="there is no such image")
            for key, label in table.labels.items()
            if key not in here
        ]
    return tuple(problems)


def _from_codes(said: Mapping[str, tuple[int, Set[str]]], task: Task, *, silence_is_none: bool) -> LabelTable:
    class_of = {code: task.classes.index(coded.name) for coded in task.codes for code in coded.codes}
    labels: dict[str, Label] = {}
    left_out: dict[str, LabelProblem] = {}
    for uid, (number, codes) in said.items():
        classes = frozenset(class_of[code] for code in codes if code in class_of)
        if not classes and not silence_is_none:
            reason = "none of its codes is of a class of the task"
        elif len(classes) > 1 and not task.multi_label:
            reason = "its codes are of more than one class"
        else:
            labels[uid] = Label(classes=classes, number=number)
            continue
        left_out[uid] = LabelProblem(place="file", number=number, reason=reason)
    return LabelTable(
        key="sop_instance_uid",
        place="file",
        labels=labels,
        left_out=left_out.keys(),
        problems=tuple(left_out.values()),
    )
