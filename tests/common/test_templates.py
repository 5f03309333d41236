"""The tasks that come with the program work as they are, and a file somebody changed is never lost."""

import tomllib
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from fed_client.cli import app as client
from fed_client.reading.terms import MODALITIES, VIEWS
from fed_common.errors import ConfigError, MachineError
from fed_common.models import spec_for
from fed_common.task import Task, load_task
from fed_common.templates import list_or_write, template, template_names
from fed_server.cli import app as server

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def written(folder: Path, name: str) -> Task:
    list_or_write(name, folder / "task.toml")
    return load_task(folder / "task.toml")


def test_the_four_applications_and_pneumonia_are_there() -> None:
    assert template_names() == (
        "brain-tumour",
        "breast-ultrasound",
        "cardiomegaly",
        "chest-nodule",
        "fracture",
        "fundus",
        "pneumonia",
    )


@pytest.mark.parametrize("name", template_names())
def test_every_template_is_a_task_of_its_name_for_the_installed_network(tmp_path: Path, name: str) -> None:
    task = written(tmp_path, name)
    assert task.name == name
    assert spec_for(task).classes == len(task.classes)


@pytest.mark.parametrize("name", template_names())
def test_every_filter_is_a_word_that_reading_can_say(tmp_path: Path, name: str) -> None:
    task = written(tmp_path, name)
    assert task.modalities
    assert MODALITIES.issuperset(task.modalities)
    assert VIEWS.issuperset(task.views)


@pytest.mark.parametrize("name", template_names())
def test_every_class_can_be_told_by_a_code(tmp_path: Path, name: str) -> None:
    task = written(tmp_path, name)
    assert {coded.name for coded in task.codes} == set(task.classes)


def test_a_class_that_cant_be_seen_in_grey_has_colours(tmp_path: Path) -> None:
    channels = {
        name: tomllib.loads(template(name).decode())["recipe"]["channels"] for name in template_names()
    }
    assert {name for name, number in channels.items() if number == 3} == {"fundus"}


def test_no_two_templates_are_the_same_task(tmp_path: Path) -> None:
    digests = set()
    for name in template_names():
        (tmp_path / name).mkdir()
        digests.add(written(tmp_path / name, name).digest)
    assert len(digests) == len(template_names())


@pytest.mark.parametrize(
    ("name", "folder"), [("fundus", "fundus_eye4"), ("brain-tumour", "brain_mri_nickparvar")]
)
def test_the_classes_are_those_of_the_public_set(tmp_path: Path, name: str, folder: str) -> None:
    index = DATA / folder / "index.csv"
    if not index.is_file():
        pytest.skip("the public set isn't here")
    lines = [line.split(",") for line in index.read_text(encoding="utf-8").splitlines()]
    label, label_name = lines[0].index("label"), lines[0].index("label_name")
    pairs = {(int(line[label]), line[label_name]) for line in lines[1:]}
    assert written(tmp_path, name).classes == tuple(name for _, name in sorted(pairs))


@pytest.mark.parametrize("app", [client, server])
def test_both_programs_list_and_write(tmp_path: Path, app: Typer) -> None:
    listed = CliRunner().invoke(app, ["task"]).output
    assert [line.split()[0] for line in listed.splitlines()] == list(template_names())
    assert not list(tmp_path.iterdir())
    result = CliRunner().invoke(app, ["task", "fundus", "--out", str(tmp_path / "task.toml")])
    assert result.exit_code == 0
    assert (tmp_path / "task.toml").read_bytes() == template("fundus")


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="never overwritten"):
        list_or_write("fundus", path)
    assert path.read_text() == "mine"


def test_a_folder_that_isnt_there_is_the_operators_matter(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="can't be written"):
        list_or_write("fundus", tmp_path / "none" / "task.toml")


@pytest.mark.parametrize("name", ["", "fundu", "../task", "fundus.toml", "__init__"])
def test_a_name_is_one_of_the_list_or_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="there are brain-tumour"):
        list_or_write(name, tmp_path / "task.toml")
    assert not list(tmp_path.iterdir())
