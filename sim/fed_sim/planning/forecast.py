"""Runs small federations over and over, to say which AUC to expect of how much epsilon and how many rounds.

Each run is the service's own: its rounds, ledgers, noise and site code; only its images are public. They are
registered once, and each run begins with a copy of the sites as they were then.
"""

import shutil
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

import tomli_w
from scipy.stats import t

from fed_client.config import load_site_config
from fed_client.opening import open_registered
from fed_common.errors import ConfigError
from fed_common.metrics import Estimate
from fed_server.journal import RunEvent
from fed_sim.consortium import Consortium, found_consortium
from fed_sim.scenario import Scenario
from fed_sim.simulation import simulate


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Runs of one kind: each one's AUC on the same public test set, and their mean.

    The interval is Student's, of the mean over runs; all runs share the images of training and testing.
    """

    epsilon: float
    rounds: int
    noise_multiplier: float
    runs: tuple[float, ...]
    auc: Estimate


def forecast_auc(
    hospitals: Path,
    scenario: Scenario,
    *,
    kinds: Sequence[tuple[float, int]],
    repeats: int,
    folder: Path,
    on_run: Callable[[], None],
) -> list[Cell]:
    """Return a cell for each epsilon and number of rounds in `kinds`; `folder` is for scratch files.

    Raises:
        ConfigError: there is no public test set, or a kind is not allowed.
    """
    base = found_consortium(folder / "base", hospitals=hospitals, scenario=scenario)
    for site in base.sites:
        open_registered(load_site_config(base.site_file(site)))
    cells = []
    for epsilon, rounds in kinds:
        runs, noise = [], 0.0
        for _ in range(repeats):
            auc, noise = _run(base, folder / "run", epsilon=epsilon, rounds=rounds)
            runs.append(auc)
            on_run()
        cells.append(
            Cell(
                epsilon=epsilon,
                rounds=rounds,
                noise_multiplier=noise,
                runs=tuple(runs),
                auc=mean_with_interval(runs),
            )
        )
    return cells


def mean_with_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of at least two values, with Student's 95 % interval."""
    mean = fmean(values)
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Estimate(value=mean, low=max(0.0, mean - half), high=min(1.0, mean + half))


def _run(base: Consortium, root: Path, *, epsilon: float, rounds: int) -> tuple[float, float]:
    """Return a fresh run's AUC and noise multiplier."""
    shutil.copytree(base.root, root)
    try:
        copy = Consortium.at(root)
        _set(copy.federation_file, "privacy", "epsilon", epsilon)
        _set(copy.federation_file, "training", "rounds", rounds)
        _set(copy.federation_file, "evaluation", "every", rounds)
        for site in copy.sites:
            _set(copy.site_file(site), "policy", "epsilon", epsilon)
            copy.sign(site)
        _, last = simulate(copy, observer=_unseen)
    finally:
        shutil.rmtree(root)
    if last.manifest.test is None:
        raise ConfigError("a forecast needs the hospitals' public test set, and there is none")
    return last.manifest.test.auc.value, last.manifest.terms.dp.noise_multiplier


def _set(file: Path, table: str, key: str, value: float) -> None:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    tables[table][key] = value
    file.write_text(tomli_w.dumps(tables), encoding="utf-8")


def _unseen(event: RunEvent) -> None:
    """Show nothing: a forecast's runs are counted, not watched."""
