"""The utility table says what its rows say, goes on where it was interrupted, and is that of federations."""

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.client.dataset.folders import TASK, DirectReader, direct_reading, pixels_of
from tests.client.dicom_files import image_dataset, write

from fed_client.dataset.public import load_public_test
from fed_common.errors import DataError
from fed_common.greys import USUAL
from fed_common.models import ModelSpec, build_model, frozen_features
from fed_common.task import Recipe
from fed_sim.bench.utility import EPSILONS, measure
from fed_sim.bench.utility_runs import BENCHMARKS, run_benchmarks
from fed_sim.bench.utility_table import Result, Results, cell, lines
from fed_sim.experiments.cell import ARMS, Arm
from fed_sim.experiments.known_pictures import KnownPictures
from fed_sim.experiments.public_test import drop_unusable
from fed_sim.experiments.training import NoNoise
from fed_sim.hospitals import LabelRow, write_labels
from fed_sim.phantoms import write_phantoms
from fed_sim.scenario import gallery


def result(
    *,
    run: int = 1,
    auc: float = 0.9,
    accuracy: float = 0.8,
    arm: Arm = "federated",
    sites: int = 3,
    hospital: str = "",
) -> Result:
    return Result(
        collection="play",
        sites=sites,
        arm=arm,
        epsilon=8.0,
        hospital=hospital,
        run=run,
        auc=auc,
        auc_low=auc - 0.02,
        auc_high=auc + 0.02,
        accuracy=accuracy,
        test_patients=400,
        commit="abc",
    )


def test_intervals_are_students_over_runs_and_the_tests_own() -> None:
    figures = cell([result(run=1, auc=0.90), result(run=2, auc=0.92), result(run=3, auc=0.94)])

    assert figures.auc == pytest.approx(0.92)
    # Standard deviation 0.02; 4.303 is Student's 97.5 % point with 2 degrees of freedom.
    assert figures.auc_over_runs == pytest.approx(4.303 * 0.02 / math.sqrt(3), rel=1e-3)
    assert figures.auc_test.high - figures.auc_test.low == pytest.approx(0.04)
    # 1.96 x sqrt(0.8 x 0.2 / 400)
    assert figures.accuracy_test.high == pytest.approx(0.8 + 1.96 * 0.02, rel=1e-3)


def test_hospitals_alone_are_averaged_before_runs_are_compared() -> None:
    alone = [
        result(run=run, arm="local", hospital=f"hospital-{number}", auc=0.8 + 0.1 * number)
        for run in (1, 2)
        for number in (0, 1)
    ]

    assert cell(alone).runs == 2
    assert cell(alone).auc_over_runs == pytest.approx(0)
    assert math.isnan(cell(alone[:2]).auc_over_runs)


def test_results_are_on_disk_and_measured_once_pooled_ones_for_any_number_of_hospitals(
    tmp_path: Path,
) -> None:
    Results(tmp_path / "a.json").add(result())
    results = Results(tmp_path / "a.json")
    results.add(result(arm="pooled"))

    def has(sites: int, arm: Arm, epsilon: float = 8.0) -> bool:
        return results.has("play", sites, 1, arm=arm, epsilon=epsilon, hospital="")

    assert has(3, "federated") and has(10, "pooled")
    assert not has(10, "federated") and not has(3, "federated", math.inf)


def test_a_run_is_dealt_out_only_if_a_model_lacks(tmp_path: Path) -> None:
    results = Results(tmp_path / "a.json")
    rows = [
        replace(
            result(arm=arm, hospital="hospital-1" if arm == "local" else ""),
            collection=benchmark.name,
            epsilon=epsilon if epsilon < math.inf else -1.0,
        )
        for benchmark in BENCHMARKS
        for arm in ARMS
        for epsilon in EPSILONS
    ]
    results.rows.extend(rows[1:])
    with pytest.raises(DataError):
        run_benchmarks(results, data=tmp_path, sites=[3], runs=1, told=lambda row: None)

    results.rows.append(rows[0])

    run_benchmarks(results, data=tmp_path, sites=[3], runs=1, told=lambda row: None)


def test_the_table_has_the_pooled_model_beside_every_number_of_hospitals() -> None:
    rows = [result(), result(sites=10), result(arm="pooled", auc=0.95)]
    table = list(lines(rows))

    assert len(table) == 2 + 4
    assert sum("| pooled | 8 | 0.950" in line for line in table) == 2
    assert table[2] == "| play | 3 | federated | 8 | 0.900 [0.880, 0.920] | 0.800 [0.761, 0.839] | 1 |"


def test_a_known_pictures_features_are_those_that_would_be_computed() -> None:
    spec = ModelSpec(architecture="scattering", channels=1, classes=2)
    images_NCHW = torch.randn(3, 1, 32, 32)
    dealt_NCHW = images_NCHW[[2, 0]]
    known = KnownPictures()
    known.prepare(spec, images_NCHW)
    known.prepare(spec, dealt_NCHW)

    kept = frozen_features(build_model(spec), dealt_NCHW, USUAL)
    computed = frozen_features(build_model(spec), dealt_NCHW.clone(), USUAL)

    assert kept is not None and computed is not None
    assert torch.allclose(kept, computed, atol=1e-3)
    assert not torch.allclose(kept[0], kept[1], atol=1e-3)


def test_a_file_is_read_once_wherever_it_lies(tmp_path: Path) -> None:
    recipe = Recipe(size=16)
    reader = DirectReader(recipe)
    known = KnownPictures(lambda _: nullcontext(reader))
    first = write(tmp_path / "first.dcm", image_dataset(pixels_of(1)))
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(first.read_bytes())
    other = write(tmp_path / "other.dcm", image_dataset(pixels_of(2)))

    with known.open_reader(recipe) as opened:
        once = list(opened.read([first]))
    with known.open_reader(recipe) as opened:
        again = list(opened.read([other, copy]))

    assert reader.paths == [first, other]
    assert again[1] is once[0] and again[0] is not once[0]


def test_of_a_public_test_only_what_hospitals_would_be_given_stays(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"images/{number}.dcm", image_dataset(pixels_of(number), patient=f"P{number}"))
    (tmp_path / "images/copy.dcm").write_bytes((tmp_path / "images/1.dcm").read_bytes())
    (tmp_path / "images/broken.dcm").write_bytes(b"no picture")
    classes = {"0.dcm": 0, "1.dcm": 1, "2.dcm": 0, "3.dcm": 1, "copy.dcm": 1, "broken.dcm": 0}
    rows = [LabelRow(file=file, label=TASK.classes[number]) for file, number in classes.items()]
    write_labels(tmp_path / "labels.csv", rows)
    with pytest.raises(DataError, match="1 test files"):
        load_public_test(tmp_path, TASK, open_reader=direct_reading)

    assert drop_unusable(tmp_path, TASK, direct_reading) == 4

    assert len(load_public_test(tmp_path, TASK, open_reader=direct_reading).labels_N) == 4
    assert len(list((tmp_path / "images").iterdir())) == 4


@pytest.mark.slow
def test_a_federation_is_measured_together_alone_and_pooled(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "hospitals", sites=2, seed=1, patients=(60, 60), test_patients=60)
    models = measure(
        tmp_path / "hospitals",
        gallery("pneumonia"),
        tmp_path / "federation",
        rounds=dict.fromkeys(EPSILONS, 1),
        known=KnownPictures(),
        wanted=lambda arm, epsilon, hospital: epsilon in (math.inf, 8.0),
    )

    kinds: set[tuple[Arm, str]] = {("federated", ""), ("pooled", "")}
    kinds |= {("local", "hospital-1"), ("local", "hospital-2")}
    assert {(model.arm, model.hospital, model.epsilon) for model in models} == {
        (*kind, epsilon) for kind in kinds for epsilon in (math.inf, 8.0)
    }


def test_at_epsilon_infinity_nothing_is_added_and_patients_are_sampled_as_ever() -> None:
    nothing = np.zeros(5)
    NoNoise().add_noise(nothing, std=3.0)
    assert not nothing.any()
    assert 0 < NoNoise().poisson_mask(1000, rate=0.5).sum() < 1000
