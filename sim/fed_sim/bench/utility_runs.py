"""The public collections that utility is measured on, each with its recipe, dealt out run by run."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fed_client.dataset.source import OpenReader
from fed_common.task import load_task
from fed_sim.bench.utility import EPSILONS, measure
from fed_sim.bench.utility_table import Result, Results
from fed_sim.experiments.cell import ARMS, Arm
from fed_sim.experiments.code_version import commit
from fed_sim.experiments.known_pictures import KnownPictures
from fed_sim.experiments.public_test import drop_unusable
from fed_sim.hospitals import PUBLIC_TEST
from fed_sim.imports import ArraySource, import_array, import_medmnist
from fed_sim.partition import Spread
from fed_sim.scenario import gallery

# Training alone is measured at the first hospital of each run, which has other patients each time.
_ALONE = "hospital-1"


# What one model is trained on: the arm, its epsilon, and the hospital if it trains alone.
Kind = tuple[Arm, float, str]

# Deals the collection out to hospitals and returns how many patients its public test has.
ImportInto = Callable[[Path, Path, Spread, OpenReader], int]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A collection below the folder of all data, the scenario, and the rounds that each epsilon affords."""

    name: str
    scenario: str
    rounds: Mapping[float, int]
    import_into: ImportInto


def _medmnist(file: str) -> ImportInto:
    return lambda data, out, spread, _: (
        import_medmnist(data / file, out, spread=spread).public_test.num_patients
    )


def _brain(data: Path, out: Path, spread: Spread, open_reader: OpenReader) -> int:
    folder = data / "brain_mri_nickparvar"
    source = ArraySource(
        images=folder / "images.npz", index=folder / "index.csv", label_column="label", test_split="test"
    )
    import_array(source, out, spread=spread)
    return drop_unusable(out / PUBLIC_TEST, load_task(out / "task.toml"), open_reader)


# The rounds were chosen without the tests (decision 0015).
_MANY_PATIENTS = {math.inf: 10, 8.0: 10, 3.0: 10, 1.0: 6}
_FEW_PATIENTS = {math.inf: 10, 8.0: 5, 3.0: 2, 1.0: 1}

BENCHMARKS = (
    Benchmark(
        name="PneumoniaMNIST",
        scenario="pneumonia",
        rounds=_MANY_PATIENTS,
        import_into=_medmnist("pneumoniamnist/pneumoniamnist.npz"),
    ),
    Benchmark(
        name="BreastMNIST",
        scenario="breast",
        rounds=_FEW_PATIENTS,
        import_into=_medmnist("breastmnist/breastmnist.npz"),
    ),
    Benchmark(name="brain MRI", scenario="brain", rounds=_MANY_PATIENTS, import_into=_brain),
)


def run_benchmarks(
    results: Results, *, data: Path, sites: Sequence[int], runs: int, told: Callable[[Result], None]
) -> None:
    """Measure what `results` lacks, run by run.

    Raises:
        DataError: a collection is missing.
    """
    known = KnownPictures()

    def tell(row: Result) -> None:
        results.add(row)
        told(row)

    for number in sites:
        for benchmark in BENCHMARKS:
            for run in range(1, runs + 1):
                spread = Spread(sites=number, seed=run)
                lacking = _lacking(results, benchmark, spread)
                if lacking:
                    _run(benchmark, spread, lacking, data=data, known=known, tell=tell)


def _lacking(results: Results, benchmark: Benchmark, spread: Spread) -> frozenset[Kind]:
    kinds = {(arm, epsilon, _ALONE if arm == "local" else "") for arm in ARMS for epsilon in EPSILONS}
    return frozenset(
        (arm, epsilon, hospital)
        for arm, epsilon, hospital in kinds
        if not results.has(
            benchmark.name, spread.sites, spread.seed, arm=arm, epsilon=epsilon, hospital=hospital
        )
    )


def _run(
    benchmark: Benchmark,
    spread: Spread,
    lacking: frozenset[Kind],
    *,
    data: Path,
    known: KnownPictures,
    tell: Callable[[Result], None],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hospitals = folder / "hospitals"
        test_patients = benchmark.import_into(data, hospitals, spread, known.open_reader)
        models = measure(
            hospitals,
            gallery(benchmark.scenario),
            folder / "federation",
            rounds=benchmark.rounds,
            known=known,
            wanted=lambda arm, epsilon, hospital: (arm, epsilon, hospital) in lacking,
        )
        for model in models:
            auc = model.figures.auc
            row = Result(
                collection=benchmark.name,
                sites=spread.sites,
                arm=model.arm,
                epsilon=model.epsilon if math.isfinite(model.epsilon) else -1.0,
                hospital=model.hospital,
                run=spread.seed,
                auc=auc.value,
                auc_low=auc.low,
                auc_high=auc.high,
                accuracy=model.figures.accuracy,
                test_patients=test_patients,
                commit=commit(),
            )
            tell(row)
