"""A table's records reach a site as the numbers they are; a network learns from them what sklearn does."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from fed_client.dataset.public import load_public_test
from fed_common.errors import ConfigError, DataError
from fed_common.greys import model_input, stored
from fed_common.models import ModelSpec, build_model
from fed_common.task import load_task
from fed_sim.example_table import write_example
from fed_sim.partition import Natural, ScannerShifted, Spread
from fed_sim.records import RECIPE, SIDE, Columns, import_records, pictures_of, standardised
from fed_sim.scenario import gallery

STEP = 16 / 65535
CONSTANTS = {"age": {"mean": 50.0, "spread": 10.0}, "pressure": {"mean": 120.0, "spread": 15.0}}
FILE = {
    "name": "heart",
    "label": "disease",
    "values": ["0", "1"],
    "classes": ["healthy", "disease"],
    "positive": "disease",
    "columns": CONSTANTS,
}
ROWS = [
    {
        "age": str(40 + number),
        "pressure": "" if number == 3 else str(100 + number),
        "disease": str(number % 2),
    }
    | {"patient": f"p{number // 2}", "site": "AB"[number // 10]}
    for number in range(20)
]


def written(folder: Path, rows: list[dict[str, str]], **changes: object) -> tuple[Path, Path]:
    table, columns = folder / "heart.csv", folder / "columns.toml"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    columns.write_text(tomli_w.dumps(FILE | changes))
    return table, columns


def test_a_picture_holds_the_standardised_values_and_beyond_them_the_mean() -> None:
    values = np.array([[-9.0, -0.3, 0.0], [1.7, 7.9, 30.0]])
    inputs_NCHW = model_input(torch.from_numpy(stored(pictures_of(values)))[:, None])
    seen = 4 * inputs_NCHW.flatten(1).numpy()
    assert np.abs(seen[:, :3] - np.clip(values, -8, 8)).max() <= STEP
    assert np.abs(seen[:, 3:]).max() <= STEP


def test_what_a_reader_makes_of_a_records_picture_is_what_was_written(tmp_path: Path) -> None:
    table, columns = written(tmp_path, ROWS)
    import_records(
        table, tmp_path / "out", columns=columns, spread=Spread(sites=2, seed=1), test_fraction=0.5
    )
    task = load_task(tmp_path / "out/task.toml")
    assert (task.recipe, task.model) == (RECIPE, "linear")
    images = load_public_test(tmp_path / "out/public-test", task)
    seen = 4 * model_input(images.images_NCHW).flatten(1).numpy()[:, :2]
    named = Columns.model_validate_json(json.dumps(FILE))
    expected = standardised(ROWS, named)
    assert len(seen) == 10
    for row in seen:
        assert np.abs(expected - row).max(axis=1).min() <= STEP


def test_records_are_dealt_out_by_their_own_site(tmp_path: Path) -> None:
    table, columns = written(tmp_path, ROWS)
    spread = Spread(sites=2, partition=Natural(column="site"), seed=1)
    summary = import_records(table, tmp_path / "out", columns=columns, spread=spread)
    assert summary.public_test.num_patients == 2
    assert sum(site.num_images for site in summary.sites) == 16
    for site in summary.sites:
        with (tmp_path / "out" / site.name / "labels.csv").open() as file:
            numbers = {int(Path(row["file"]).stem.split("-")[1]) // 10 for row in csv.DictReader(file)}
        assert len(numbers) == 1


@pytest.mark.parametrize("cell", ["old", "nan", "inf"])
def test_a_cell_that_is_no_number_is_named(tmp_path: Path, cell: str) -> None:
    table, columns = written(tmp_path, [*ROWS, ROWS[0] | {"age": cell}])
    with pytest.raises(DataError, match="row 20: age"):
        import_records(table, tmp_path / "out", columns=columns, spread=Spread(sites=2, seed=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {"weight": {"mean": 0.0, "spread": 1.0}}}, "no column weight"),
        ({"values": ["no", "yes"]}, "disease must be one of no, yes"),
        ({"columns": {"age": {"mean": 0.0, "spread": 0.0}}}, "spread"),
        ({"values": ["0"]}, "values"),
        ({"positive": "flu"}, "positive"),
    ],
)
def test_a_table_and_columns_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    table, columns = written(tmp_path, ROWS, **changes)
    with pytest.raises((ConfigError, DataError), match=message):
        import_records(table, tmp_path / "out", columns=columns, spread=Spread(sites=2, seed=1))


def test_a_table_has_no_scanner_to_shift(tmp_path: Path) -> None:
    table, columns = written(tmp_path, ROWS)
    spread = Spread(sites=2, partition=ScannerShifted(strength=1.0), seed=1)
    with pytest.raises(ConfigError, match="no scanner"):
        import_records(table, tmp_path / "out", columns=columns, spread=spread)


def test_on_pictures_of_records_the_linear_network_is_sklearns_logistic_regression() -> None:
    table = load_breast_cancer()
    values = (table.data - table.data.mean(0)) / table.data.std(0)
    inputs_NCHW = model_input(torch.from_numpy(stored(pictures_of(values)))[:, None]).double()
    labels_N = torch.from_numpy(table.target)
    model = build_model(ModelSpec(architecture="linear", channels=1, size=SIDE, classes=2)).double()
    weights_KP, bias_K = model.parameters()
    torch.nn.init.zeros_(weights_KP)
    optimizer = torch.optim.LBFGS([weights_KP, bias_K], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> float:
        """Give sklearn's loss, whose weights are the difference between the classes' for whole values."""
        optimizer.zero_grad()
        losses = functional.cross_entropy(model(inputs_NCHW), labels_N, reduction="sum")
        total = losses + ((weights_KP[1] - weights_KP[0]) / 4).square().sum() / 2
        torch.autograd.backward(total)
        return float(total.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    seen_NP = 4 * inputs_NCHW.flatten(1).numpy()
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(seen_NP, table.target)
    ours_NK = torch.softmax(model(inputs_NCHW), 1).detach().numpy()
    np.testing.assert_allclose(ours_NK, theirs.predict_proba(seen_NP), atol=1e-3)


def test_the_example_table_becomes_hospitals(tmp_path: Path) -> None:
    table, columns = write_example(tmp_path / "table")
    summary = import_records(table, tmp_path / "out", columns=columns, spread=Spread(sites=3, seed=1))
    assert sum(site.num_images for site in summary.sites) + summary.public_test.num_images == 569
    assert summary.public_test.classes.keys() == {"benign", "malignant"}
    assert gallery("records").model == "linear"
    with pytest.raises(ConfigError, match="new or empty"):
        write_example(tmp_path / "table")
