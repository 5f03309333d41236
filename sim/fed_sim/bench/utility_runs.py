"""The public collections that utility is measured on, each with its recipe, dealt out run by run."""

import math
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fed_sim.bench.known_features import KnownFeatures
from fed_sim.bench.utility import Arm, measure
from fed_sim.bench.utility_table import Result, Results
from fed_sim.hospitals import FederationSummary
from fed_sim.imports import ArraySource, import_array, import_medmnist
from fed_sim.partition import Spread
from fed_sim.scenario import gallery

# Training alone is measured at the first hospital of each run, which has other patients each time.
_ALONE = "hospital-1"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A collection below the folder of all data, the scenario, and the rounds that each epsilon affords."""

    name: str
    scenario: str
    rounds: Mapping[float, int]
    import_into: Callable[[Path, Path, Spread], FederationSummary]


def _medmnist(file: str) -> Callable[[Path, Path, Spread], FederationSummary]:
    return lambda data, out, spread: import_medmnist(data / file, out, spread=spread)


def _brain(data: Path, out: Path, spread: Spread) -> FederationSummary:
    folder = data / "brain_mri_nickparvar"
    source = ArraySource(
        images=folder / "images.npz", index=folder / "index.csv", label_column="label", test_split="test"
    )
    return import_array(source, out, spread=spread)


# The rounds were chosen on the validation splits (`sim/results/utility.md`).
_MANY_PATIENTS = {math.inf: 10, 8.0: 10, 3.0: 10, 1.0: 6}
_FEW_PATIENTS = {math.inf: 10, 8.0: 3, 3.0: 2, 1.0: 2}

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
    known = KnownFeatures()

    def tell(row: Result) -> None:
        results.add(row)
        told(row)

    for number in sites:
        for benchmark in BENCHMARKS:
            for run in range(1, runs + 1):
                _run(results, benchmark, Spread(sites=number, seed=run), data=data, known=known, tell=tell)


def _run(
    results: Results,
    benchmark: Benchmark,
    spread: Spread,
    *,
    data: Path,
    known: KnownFeatures,
    tell: Callable[[Result], None],
) -> None:
    def wanted(arm: Arm, epsilon: float, hospital: str) -> bool:
        return (arm != "local" or hospital == _ALONE) and not results.has(
            benchmark.name, spread.sites, spread.seed, arm=arm, epsilon=epsilon, hospital=hospital
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hospitals = folder / "hospitals"
        summary = benchmark.import_into(data, hospitals, spread)
        models = measure(
            hospitals,
            gallery(benchmark.scenario),
            folder / "federation",
            rounds=benchmark.rounds,
            known=known,
            wanted=wanted,
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
                test_patients=summary.public_test.num_patients,
                commit=_commit(),
            )
            tell(row)


@cache
def _commit() -> str:
    """Return the commit of the code that runs, with a plus where it was changed since."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
        cwd=here,
        capture_output=True,
        check=False,
    )
    return described.stdout.decode().strip() or "unknown"
