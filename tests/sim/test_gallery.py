"""Every scenario that comes with the program loads, says which hospitals it is for, and can be compared."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fed_common.errors import ConfigError, DataError
from fed_common.names import SiteName
from fed_common.plans import SiteTerms
from fed_common.task import Recipe, Task
from fed_server.settings import RunSettings
from fed_sim import scenario as scenarios
from fed_sim.cli import app
from fed_sim.data_table import DataTable
from fed_sim.experiments.grid import Study
from fed_sim.experiments.training import settings_of
from fed_sim.making import make_hospitals
from fed_sim.partition import MissingClasses, Spread
from fed_sim.scenario import gallery

FILES = (Path(scenarios.__file__).parent / "scenarios").glob("*.toml")
# Virtual sites have no hospitals, and another form.
NAMES = sorted(path.stem for path in FILES if "virtual" not in tomllib.loads(path.read_text()))
SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"
OF_A_KIND = {
    "label-skew": "label",
    "size-skew": "size",
    "missing-classes": "missing-classes",
    "scanner-shift": "scanner",
    "concept-shift": "concept",
    "fundus": "natural",
}


def cohort(sites: int) -> tuple[SiteTerms, ...]:
    return tuple(SiteTerms(name=SiteName(f"hospital-{n}"), patients=100) for n in range(1, sites + 1))


@pytest.mark.parametrize("name", NAMES)
def test_every_method_and_baseline_of_a_scenario_has_settings_that_hold_together(name: str) -> None:
    scenario = gallery(name)
    study = Study.of(scenario)
    task = Task(
        name="t", classes=("a", "b"), positive="b", recipe=Recipe(), model=scenario.model or "seed-cnn"
    )
    before = RunSettings(
        name=name,
        task=task,
        cohort=cohort(scenario.partition.sites),
        training=scenario.training,
        privacy=scenario.privacy,
        evaluation=scenario.evaluation,
        quorum=scenario.quorum,
    )

    for cell in study.cells(1, tuple(site.name for site in before.cohort)):
        settings = settings_of(
            before,
            study.scenario_of(cell),
            cohort=before.cohort if cell.arm == "federated" else cohort(1),
            epsilon=cell.epsilon,
            rounds=study.rounds_of(cell),
        )
        assert settings.training.rounds == study.rounds_of(cell)
        assert settings.proposal.num_evaluations >= 1


@pytest.mark.parametrize("name", OF_A_KIND)
def test_there_is_a_scenario_for_each_kind_of_difference(name: str) -> None:
    assert gallery(name).name == name
    assert gallery(name).partition.kind == OF_A_KIND[name]
    assert gallery(name).partition.spread(1).seed == 1


@pytest.mark.parametrize("name", [name for name in NAMES if gallery(name).data.source])
def test_the_collection_of_a_scenario_is_where_it_says(name: str) -> None:
    data = gallery(name).data
    if not SHARED_DATA.is_dir():
        pytest.skip("shared/data is not here")
    assert data.source is not None and (SHARED_DATA / data.source).is_file()
    assert data.index is None or (SHARED_DATA / data.index).is_file()


def test_phantoms_are_not_dealt_out_by_a_partition(tmp_path: Path) -> None:
    spread = Spread(sites=2, partition=MissingClasses(classes=1), seed=1)
    with pytest.raises(ConfigError, match="takes a source"):
        make_hospitals(DataTable(), tmp_path / "out", collections=tmp_path, spread=spread)


def test_pictures_without_an_index_and_archives_that_are_none_are_refused(tmp_path: Path) -> None:
    spread = Spread(sites=2, seed=1)
    (tmp_path / "pictures.zip").write_bytes(b"no archive")
    (tmp_path / "index.csv").write_text("file,label\na.png,x\nb.png,y\n")
    with pytest.raises(ConfigError, match="pictures need an index"):
        make_hospitals(
            DataTable(source=Path("pictures.zip")), tmp_path / "out", collections=tmp_path, spread=spread
        )
    named = DataTable(source=Path("pictures.zip"), index=Path("index.csv"))
    with pytest.raises(DataError, match=r"not a readable \.zip"):
        make_hospitals(named, tmp_path / "out", collections=tmp_path, spread=spread)


def test_a_source_is_looked_for_among_the_collections(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 10, 8, 8), dtype=np.uint8)
    labels = np.arange(10) % 2
    np.savez(
        tmp_path / "play.npz",
        train_images=images[0],
        train_labels=labels,
        val_images=images[1],
        val_labels=labels,
        test_images=images[2],
        test_labels=labels,
    )

    summary = make_hospitals(
        DataTable(source=Path("play.npz")),
        tmp_path / "out",
        collections=tmp_path,
        spread=Spread(sites=2, seed=1),
    )

    assert len(summary.sites) == 2


@pytest.mark.parametrize(
    "words", ["run nowhere --hospitals h", "plan nowhere", "virtual nowhere", "compare nowhere"]
)
def test_a_name_that_the_gallery_lacks_is_answered_with_those_it_has(words: str) -> None:
    with pytest.raises(ConfigError, match=r"no scenario is called nowhere; there are brain, .*thousand"):
        CliRunner().invoke(app, words.split(), catch_exceptions=False)
