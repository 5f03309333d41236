"""A line that can't be used costs its own image and nothing else; no cell is ever repeated."""

from pathlib import Path

import pytest

from fed_client.dataset import lists
from fed_client.dataset.labels import LabelTable, uncovered
from fed_client.dataset.lists import MAX_LINE_BYTES, read_csv_labels
from fed_common.errors import DataError
from fed_common.task import Recipe, Task

CANARY = "CANARY7341"
ONE = Task(name="chest", classes=("normal", "mass", "nodule"), positive="mass", recipe=Recipe())
SEVERAL = Task(name="chest", classes=("mass", "nodule"), positive="mass", multi_label=True, recipe=Recipe())


def read(folder: Path, text: str | bytes, task: Task = ONE) -> LabelTable:
    path = folder / f"{CANARY}.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv_labels(path, task)


def classes(table: LabelTable) -> dict[str, set[int]]:
    return {key: set(label.classes) for key, label in table.labels.items()}


def reasons(table: LabelTable) -> dict[int, str]:
    assert all(problem.place == "line" for problem in table.problems)
    return {problem.number: problem.reason for problem in table.problems}


def test_a_label_for_each_file(tmp_path: Path) -> None:
    table = read(tmp_path, "file,label\na/1.dcm,normal\na/2.dcm,nodule\n")
    assert table.key == "file"
    assert classes(table) == {"a/1.dcm": {0}, "a/2.dcm": {2}}
    assert not table.problems


def test_uids_instead_of_paths(tmp_path: Path) -> None:
    table = read(tmp_path, "sop_instance_uid,label\n1.2.3,mass\nx,mass\n")
    assert table.key == "sop_instance_uid"
    assert classes(table) == {"1.2.3": {1}}
    assert reasons(table) == {3: "sop_instance_uid must be digits and dots"}


def test_several_labels_in_one_cell(tmp_path: Path) -> None:
    table = read(tmp_path, "file,label\n1,mass;nodule\n2,nodule; mass\n3,\n4,mass\n5,mass;\n", SEVERAL)
    assert classes(table) == {"1": {0, 1}, "2": {0, 1}, "3": set(), "4": {0}}
    assert reasons(table) == {6: "label must be of mass, nodule"}


def test_several_labels_as_a_column_for_each_class(tmp_path: Path) -> None:
    table = read(tmp_path, "nodule,file,mass\n1,a,0\n0,b,1\n0,c,0\n1,d,1\n,e,1\n2,f,0\n", SEVERAL)
    assert classes(table) == {"a": {1}, "b": {0}, "c": set(), "d": {0, 1}}
    assert set(reasons(table).values()) == {"the columns of the classes must be 0 or 1"}
    assert set(reasons(table)) == {6, 7}


def test_patient_and_split_come_along_and_other_columns_stay(tmp_path: Path) -> None:
    text = f"row,patient,split,label,file\n{CANARY},P1,valid,mass,1\n,,,normal,2\n,P3,{CANARY},mass,3\n"
    table = read(tmp_path, text)
    assert (table.labels["1"].patient, table.labels["1"].split) == ("P1", "validation")
    assert (table.labels["2"].patient, table.labels["2"].split) == ("", "")
    assert reasons(table) == {4: "split must be train, validation, test or empty"}
    assert CANARY not in repr(table.labels["1"]) + repr(table.problems)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_what_spreadsheets_add_changes_nothing(tmp_path: Path, end: str) -> None:
    line_end = end or "\n"
    text = f'file,label{line_end}"a, b.dcm",mass{line_end}{line_end}ä.dcm, mass {end}'
    assert classes(read(tmp_path, b"\xef\xbb\xbf" + text.encode())) == {"a, b.dcm": {1}, "ä.dcm": {1}}


UNUSABLE: dict[str, tuple[bytes, str]] = {
    "no file": (b",mass", "file is missing"),
    "no label": (b"x,", "label is missing"),
    "unknown class": (b"x,CANARY7341", "label must be of normal, mass, nodule"),
    "two classes": (b"x,mass;nodule", "label must be of normal, mass, nodule"),
    "another spelling": (b"x,Mass", "label must be of normal, mass, nodule"),
    "too few cells": (b"x", "it has 1 cells, the first line 2"),
    "too many cells": (b"x,mass,CANARY7341", "it has 3 cells, the first line 2"),
    "formula for a file": (b"=CANARY7341,mass", "file begins like a formula"),
    "at for a file": (b"@CANARY7341,mass", "file begins like a formula"),
    "formula for a label": (b"x,=CANARY7341", "label begins like a formula"),
    "plus for a label": (b"x,+1", "label begins like a formula"),
    "minus for a label": (b"x,-1", "label begins like a formula"),
    "another encoding": ("CANARY7341ä,mass".encode("latin-1"), "something is not UTF-8"),
    "not text": (b"x\0CANARY7341,mass", "something is not text"),
    "an open quote": (b'"CANARY7341,mass', "the quotes don't match"),
    "a quote too many": (b'"CANARY7341"x,mass', "the quotes don't match"),
    "too long": (b"CANARY7341" * 1000 + b",mass", f"it has more than {MAX_LINE_BYTES} bytes"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_line_that_cant_be_used_is_listed_and_the_rest_is_read(tmp_path: Path, name: str) -> None:
    line, reason = UNUSABLE[name]
    table = read(tmp_path, b"file,label\na,mass\n" + line + b"\nb,normal\n")
    assert classes(table) == {"a": {1}, "b": {0}}
    assert reasons(table) == {3: reason}
    assert CANARY not in repr(table.problems)


def test_a_patient_that_is_a_formula_is_listed(tmp_path: Path) -> None:
    table = read(tmp_path, "file,label,patient\na,mass,=1\nb,mass,P\n")
    assert classes(table) == {"b": {1}}
    assert reasons(table) == {2: "patient begins like a formula"}


@pytest.mark.parametrize("second", ["a,normal,P1,", "a,mass,P2,", "a,mass,P1,test", "a,none,P1,", "a,mass"])
def test_a_contradiction_leaves_the_image_out_whichever_line_came_first(tmp_path: Path, second: str) -> None:
    for lines in ("a,mass,P1,\n" + second, second + "\na,mass,P1,"):
        table = read(tmp_path, f"file,label,patient,split\n{lines}\nb,normal,P3,\na,mass,P1,\n")
        contradicts = second.count(",") == 3
        assert ("a" in table.labels) == (not contradicts)
        assert ("a" in table.left_out) == contradicts
        assert table.problems
        assert set(table.labels) - {"a"} == {"b"}


def test_a_line_that_says_the_same_again_is_listed_and_costs_nothing(tmp_path: Path) -> None:
    table = read(tmp_path, "file,label\na,mass\na,mass\n")
    assert classes(table) == {"a": {1}}
    assert reasons(table) == {3: "it repeats line 2"}


NO_LIST: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "must begin with the columns"),
    "no header": ("a.dcm,mass\n", "must begin with the columns file or sop_instance_uid, and label"),
    "no label": ("file,class\n", "must begin with the columns"),
    "two keys": ("file,sop_instance_uid,label\n", "must begin with the columns"),
    "a column twice": ("file,label,label\n", "must name a column once"),
    "patient twice": ("file,label,patient,patient\n", "must name a column once"),
    "semicolons": (f"file;label\n{CANARY};mass\n", "must separate its columns by commas"),
    "tabs": ("file\tlabel\n", "must separate its columns by commas"),
    "UTF-16": ("file,label\n".encode("utf-16"), "no CSV file in UTF-8"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + CANARY.encode(), "no CSV file in UTF-8"),
    "one long line": (CANARY.encode() * 10_000, "must begin with the columns"),
}


@pytest.mark.parametrize("name", NO_LIST)
def test_what_is_no_list_of_labels_is_refused(tmp_path: Path, name: str) -> None:
    text, reason = NO_LIST[name]
    with pytest.raises(DataError, match=reason) as caught:
        read(tmp_path, text)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("header", ["file,mass", "file,label,mass,nodule"])
def test_several_labels_come_in_one_of_two_forms(tmp_path: Path, header: str) -> None:
    with pytest.raises(DataError, match="label, or one column for each class"):
        read(tmp_path, header + "\n", SEVERAL)


def test_a_missing_list_or_a_folder_is_refused_without_its_path(tmp_path: Path) -> None:
    (tmp_path / CANARY).mkdir()
    for path in (tmp_path / f"{CANARY}.csv", tmp_path / CANARY):
        with pytest.raises(DataError, match="missing, or no regular file") as caught:
            read_csv_labels(path, ONE)
        assert CANARY not in str(caught.value)


def test_a_list_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_LINES", 3)
    assert len(read(tmp_path, "file,label\na,mass\nb,mass\n").labels) == 2
    with pytest.raises(DataError, match="more than 3 lines"):
        read(tmp_path, "file,label\na,mass\nb,mass\nc,mass\n")


def test_images_without_a_label_and_labels_without_an_image_are_listed(tmp_path: Path) -> None:
    table = read(tmp_path, "file,label\na,mass\ngone,mass\nbad,none\n")
    found = uncovered(table, ["a", "bad", "new"])
    assert [(problem.place, problem.number, problem.reason) for problem in found] == [
        ("file", 2, "there is no label for it"),
        ("line", 3, "there is no such image"),
    ]


def test_a_hundred_thousand_lines_are_read(tmp_path: Path) -> None:
    lines = "".join(f"{number}.dcm,{ONE.classes[number % 3]}\n" for number in range(100_000))
    table = read(tmp_path, "file,label\n" + lines)
    assert len(table.labels) == 100_000
    assert table.labels["99999.dcm"].classes == {99_999 % 3}
    assert table.labels["99999.dcm"].number == 100_001
