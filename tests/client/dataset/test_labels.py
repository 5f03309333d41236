"""What reports and headers say becomes a label only if it is said, once and without contradiction."""

from fed_client.dataset.labels import LabelTable, labels_from_codes, labels_from_reports, uncovered
from fed_client.images import Finding
from fed_common.task import ClassCodes, Recipe, Task

CODES = (
    ClassCodes(name="mass", codes=("SCT:4147007",)),
    ClassCodes(name="nodule", codes=("SCT:27925004", "SCT:427359005")),
    ClassCodes(name="normal", codes=("SCT:281900007",)),
)
CLASSES = ("normal", "mass", "nodule")
ONE = Task(name="chest", classes=CLASSES, positive="mass", recipe=Recipe(), codes=CODES)
SEVERAL = Task(
    name="chest",
    classes=CLASSES[1:],
    positive="mass",
    recipe=Recipe(),
    multi_label=True,
    codes=CODES[:2],
)


def from_reports(task: Task, *said: tuple[int, str, str]) -> LabelTable:
    findings = [(number, Finding(sop_instance_uid=uid, code=code, flaws=())) for number, uid, code in said]
    return labels_from_reports(findings, task)


def classes(table: LabelTable) -> dict[str, set[int]]:
    return {key: set(label.classes) for key, label in table.labels.items()}


def problems(table: LabelTable) -> list[tuple[str, int, str]]:
    return [(problem.place, problem.number, problem.reason) for problem in table.problems]


def test_a_report_labels_the_images_it_is_about() -> None:
    table = from_reports(ONE, (7, "1.1", "SCT:27925004"), (8, "1.2", "SCT:281900007"))
    assert table.key == "sop_instance_uid"
    assert classes(table) == {"1.1": {2}, "1.2": {0}}
    assert not table.problems


def test_two_codes_of_one_class_are_one_label() -> None:
    table = from_reports(ONE, (7, "1.1", "SCT:27925004"), (8, "1.1", "SCT:427359005"))
    assert classes(table) == {"1.1": {2}}


def test_codes_of_two_classes_contradict_each_other_and_are_listed() -> None:
    table = from_reports(ONE, (7, "1.1", "SCT:4147007"), (9, "1.1", "SCT:281900007"))
    assert not table.labels
    assert table.left_out == {"1.1"}
    assert problems(table) == [("file", 7, "its codes are of more than one class")]


def test_with_one_label_nothing_follows_from_silence() -> None:
    table = from_reports(ONE, (7, "1.1", "SCT:80891009"))
    assert not table.labels
    assert problems(table) == [("file", 7, "none of its codes is of a class of the task")]


def test_with_several_labels_a_report_that_names_no_class_means_none() -> None:
    table = from_reports(SEVERAL, (7, "1.1", "SCT:80891009"), (7, "1.2", "SCT:4147007"))
    assert classes(table) == {"1.1": set(), "1.2": {0}}


def test_with_several_labels_findings_add_up() -> None:
    table = from_reports(SEVERAL, (7, "1.1", "SCT:4147007"), (8, "1.1", "SCT:27925004"))
    assert classes(table) == {"1.1": {0, 1}}


def test_an_image_without_a_report_has_no_label_with_several_labels_too() -> None:
    table = from_reports(SEVERAL, (7, "1.1", "SCT:4147007"))
    found = uncovered(table, ["1.1", "1.2"])
    assert [(problem.place, problem.number) for problem in found] == [("file", 1)]


def test_reports_about_images_elsewhere_are_no_problem() -> None:
    table = from_reports(ONE, (7, "1.1", "SCT:4147007"), (7, "9.9", "SCT:4147007"))
    assert uncovered(table, ["1.1"]) == ()


def test_headers_label_their_own_image() -> None:
    images = [(0, "1.1", ("SCT:4147007", "I10:R91")), (1, "1.2", ()), (2, "1.3", ("SCT:1",))]
    table = labels_from_codes(images, ONE)
    assert classes(table) == {"1.1": {1}}
    assert problems(table) == [
        ("file", 1, "none of its codes is of a class of the task"),
        ("file", 2, "none of its codes is of a class of the task"),
    ]


def test_headers_that_say_nothing_are_no_label_with_several_labels_too() -> None:
    table = labels_from_codes([(0, "1.1", ("SCT:1",)), (1, "1.2", ("SCT:27925004",))], SEVERAL)
    assert classes(table) == {"1.2": {1}}
    assert table.left_out == {"1.1"}


def test_frames_of_one_file_have_one_label() -> None:
    table = labels_from_codes([(0, "1.1", ("SCT:4147007",)), (0, "1.1", ("SCT:4147007",))], ONE)
    assert classes(table) == {"1.1": {1}}
    assert not table.problems
