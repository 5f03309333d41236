"""Whatever is wrong with a file becomes one line that names the place and helps."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from fed_common.config import MAX_CONFIG_BYTES, ConfigTable, load_config
from fed_common.errors import ConfigError
from fed_common.task import load_task


class Inner(ConfigTable):
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5


class Outer(ConfigTable):
    rounds: int
    folder: Path = Path("runs")
    classes: tuple[str, ...] = ()
    inner: Inner = Inner()
    rows: tuple[Inner, ...] = ()


def load(folder: Path, text: str) -> Outer:
    (folder / "file.toml").write_text(text)
    return load_config(folder / "file.toml", Outer)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    outer = load(
        tmp_path, 'rounds = 3\nfolder = "a"\nclasses = ["x"]\n[inner]\nrate = 1\n[[rows]]\nrate = 0.1'
    )
    assert outer == Outer(
        rounds=3, folder=Path("a"), classes=("x",), inner=Inner(rate=1.0), rows=(Inner(rate=0.1),)
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("round = 3", "unknown key 'round'; did you mean 'rounds'"),
        ("rounds = 3\n[inner]\nrat = 1", "unknown key 'inner.rat'; did you mean 'rate'"),
        ("rounds = 3\n[[rows]]\nzzz = 1", "allowed: rate"),
        ("", "rounds is missing"),
        ('rounds = "3"', "rounds: .*valid integer"),
        ("rounds = true", "rounds: .*valid integer"),
        ("rounds = 3.0", "rounds: .*valid integer"),
        ("rounds = 3\n[inner]\nrate = 1.5", "inner.rate: .*less than or equal to 1, got 1.5"),
        ("rounds = 3\n[inner]\nrate = nan", "inner.rate: "),
        ("rounds = 3\n[inner]\nrate = inf", "inner.rate: "),
        ('rounds = 3\n[inner]\nrate = "0.5"', "inner.rate: .*valid number"),
        ("rounds = 3\nclasses = [1]", "classes.0: .*valid string"),
        ("rounds = ", "not TOML"),
    ],
)
def test_a_mistake_becomes_one_line_with_its_place(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "file.toml") in str(caught.value)


def test_a_missing_binary_or_huge_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(tmp_path / "none.toml", Outer)
    path = tmp_path / "file.toml"
    for content in (b"\xff\xfe", b"#" * (MAX_CONFIG_BYTES + 1)):
        path.write_bytes(content)
        with pytest.raises(ConfigError):
            load_config(path, Outer)


@pytest.mark.parametrize(
    ("classes", "positive", "hint"),
    [
        ('["a", "b"]', "c", "positive must be one of a, b"),
        ('["a", "a"]', "a", "differ"),
        ('["a"]', "a", "at least 2"),
    ],
)
def test_a_task_needs_two_classes_and_a_positive_one(
    tmp_path: Path, classes: str, positive: str, hint: str
) -> None:
    path = tmp_path / "task.toml"
    path.write_text(f'name = "play"\nclasses = {classes}\npositive = "{positive}"\n')
    with pytest.raises(ConfigError, match=hint):
        load_task(path)
