"""SCAFFOLD's control variate of all sites stays the mean of theirs, whoever is away, and takes out drift."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes import COHORT, COORDINATOR_SIGNS, EAST, NORTH, NUM_PARAMETERS, SITES
from tests.released_models import SITE_SIGNS
from tests.server.runs import SETTINGS, Run, new_run, real_sites

from fed_client.algorithms.scaffold import Controls
from fed_common import checkpoint as checkpoints
from fed_common.checkpoint import Checkpoint
from fed_common.errors import ConfigError, TrustError
from fed_common.messages import AnswerStatement, unseal
from fed_common.plans import TrainTerms
from fed_server.algorithms import Algorithm, FedAvg, MeanOfRound, Memory
from fed_server.algorithms.scaffold import Scaffold, sent_to_train
from fed_server.artefacts.verification import verify_run
from fed_server.averaging import Weights
from fed_server.journal import RoundPublished, RunEvent, SiteFailed
from fed_server.settings import AggregationTable, RunSettings

SCAFFOLD = replace(
    SETTINGS,
    algorithm=Scaffold(name="scaffold"),
    training=SETTINGS.training.model_copy(update={"rounds": 3, "steps_per_round": 2}),
)
MASKED = replace(SCAFFOLD, aggregation=AggregationTable())


def limit_of_quadratics(algorithm: Algorithm, *, weights: NDArray[np.float64], steps: int) -> float:
    """Return where rounds of sites with losses a / 2 (x - b) ** 2 end, each site with its own a and b."""
    curvatures, optima, rate = np.array([1.0, 4.0]), np.array([0.0, 1.0]), 0.1
    model, memory, own = np.zeros(1), dict[str, NDArray[np.float32]](), np.zeros(2, dtype=np.float32)
    for _ in range(200):
        shared = memory.get("control", np.zeros(1, dtype=np.float32))
        updates = []
        for site in range(2):
            controls = Controls(own_P=own[site : site + 1], shared_P=shared, path=steps * rate)
            local = model.copy()
            for number in range(steps):
                change = curvatures[site] * (local - optima[site])
                if not isinstance(algorithm, FedAvg):
                    change = controls.correction(number, slice(None), change, local)
                local -= rate * change
            updates.append(local - model)
            own[site] = controls.own_after(local - model)[0]
        mean = MeanOfRound(values_P=weights @ np.array(updates), share=1.0, path=steps * rate)
        step, kept = algorithm.step(mean, memory)
        model, memory = model + step, dict(kept)
    return float(model[0])


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_the_limit_is_the_optimum_of_all_where_that_of_fedavg_is_not(share: float) -> None:
    """Closed forms for quadratics; FedAvg weighs a site by how far its steps come, not by its curvature."""
    weights, curvatures, optima = np.array([share, 1 - share]), np.array([1.0, 4.0]), np.array([0.0, 1.0])
    reached = weights * (1 - (1 - 0.1 * curvatures) ** 10)

    scaffold, fedavg = (
        limit_of_quadratics(each, weights=weights, steps=10) for each in (Scaffold(name="scaffold"), FedAvg())
    )

    assert scaffold == pytest.approx(weights * curvatures @ optima / (weights @ curvatures), abs=1e-5)
    assert fedavg == pytest.approx(reached @ optima / reached.sum(), abs=1e-5)
    assert abs(scaffold - fedavg) > 0.05


def test_the_mean_of_all_moves_by_the_share_of_those_who_took_part() -> None:
    before: Memory = {"control": np.full(2, 0.5, dtype=np.float32)}
    mean = MeanOfRound(values_P=np.array([0.2, -0.4]), share=0.25, path=0.8)

    step_P, after = Scaffold(name="scaffold").step(mean, before)

    assert np.array_equal(step_P, mean.values_P)
    np.testing.assert_allclose(after["control"], [0.5 - 0.25 * 0.75, 0.5 - 0.25 * 0.0], rtol=1e-6)


def assert_mean_of_sites(run: Run, last: Checkpoint, folder: Path, *, atol: float) -> None:
    """Assert that the coordinator's control variate is the mean of those that the sites will go on from."""
    shared_P = checkpoints.load_memory(run.folder.checkpoint(last.manifest.round), last)["control"]
    counted = {rounds.site: rounds.last for rounds in last.manifest.trained}
    own = {
        site: np.frombuffer(
            (folder / site / "answers" / "controls" / f"run-1.{number:06d}.vector").read_bytes(), "<f4"
        )
        for site, number in counted.items()
    }
    total = sum(site.patients for site in COHORT)
    mean_P = sum((site.patients / total * own[site.name] for site in COHORT), np.zeros(NUM_PARAMETERS))
    assert np.abs(mean_P).max() > 1e-3
    np.testing.assert_allclose(shared_P, mean_P, atol=atol)


@pytest.mark.parametrize("settings", [SCAFFOLD, MASKED], ids=["plain", "masked"])
def test_real_sites_control_variates_add_up_to_the_coordinators(
    tmp_path: Path, settings: RunSettings
) -> None:
    run = new_run(tmp_path)
    with real_sites(run, tmp_path / "sites"):
        last = run.start(settings=settings)
    assert last.manifest.round == 3
    assert_mean_of_sites(run, last, tmp_path / "sites", atol=1e-5)
    verify_run(run.folder, settings.model, coordinator=COORDINATOR_SIGNS, site_keys=SITE_SIGNS)


def spoiling(site: Callable[[bytes], bytes], *, round_number: int) -> Callable[[bytes], bytes]:
    """Return the site, whose answer of one round gets lost on the way after it was made."""

    def answer(payload: bytes) -> bytes:
        made = site(payload)
        statement, _ = unseal(made, AnswerStatement, SITE_SIGNS[EAST])
        lost = (statement.round, statement.phase) == (round_number, "train")
        return b"garbage" if lost else made

    return answer


@pytest.mark.parametrize("lost_in", [1, 2])
def test_a_site_whose_answer_was_not_counted_goes_on_from_the_one_that_was(
    tmp_path: Path, lost_in: int
) -> None:
    run = new_run(tmp_path)
    quiet = replace(SCAFFOLD, evaluation=SCAFFOLD.evaluation.model_copy(update={"every": 3}))
    with real_sites(run, tmp_path / "sites"):
        run.sites = {**run.sites, EAST: spoiling(run.sites[EAST], round_number=lost_in)}
        last = run.start(settings=quiet)
    assert {rounds.site: rounds.rounds for rounds in last.manifest.trained} == {
        site: 2 if site == EAST else 3 for site in SITES
    }
    kept = (tmp_path / "sites" / EAST / "answers" / "controls").glob("*.vector")
    assert len(list(kept)) == 2  # the counted one, and that of the last round
    assert_mean_of_sites(run, last, tmp_path / "sites", atol=1e-5)


def test_a_site_that_lost_its_own_one_refuses_and_charges_nothing(tmp_path: Path) -> None:
    run = new_run(tmp_path)

    def forgets(event: RunEvent) -> None:
        if isinstance(event, RoundPublished) and event.round == 1:
            shutil.rmtree(tmp_path / "sites" / EAST / "answers" / "controls")

    with real_sites(run, tmp_path / "sites"):
        last = run.start(settings=SCAFFOLD, observer=forgets)

    refused = {(e.site, e.round): e.code for e in run.folder.journal.read() if isinstance(e, SiteFailed)}
    assert refused == {(EAST, 2): "control-variate-lost", (EAST, 3): "control-variate-lost"}
    stated = {site.site: site.privacy for site in last.manifest.sites}
    assert stated[EAST].releases == 1 + stated[NORTH].releases - 3  # one training less in each of two rounds


def test_what_would_make_it_another_mean_is_refused() -> None:
    for changes, reason in (
        ({"training": SCAFFOLD.training.model_copy(update={"momentum": 0.5})}, "momentum makes longer"),
        ({"aggregation": AggregationTable(masked=False, rule="median")}, 'rule must be "mean"'),
        ({"aggregation": AggregationTable(masked=False, vote=True)}, "exclude each other"),
    ):
        with pytest.raises(ConfigError, match=reason):
            replace(SCAFFOLD, **changes)


def test_other_control_variates_than_the_checkpoints_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit log says which bytes went to the sites: model and control variate."""

    def crafted(weights: Weights, terms: TrainTerms) -> bytes:
        sent = bytes(sent_to_train(weights, terms))
        return sent[: len(sent) // 2] + bytes(len(sent) // 2)

    monkeypatch.setattr("fed_server.federation.sent_to_train", crafted)
    run = new_run(tmp_path)
    run.start(settings=SCAFFOLD)
    with pytest.raises(TrustError, match="round 2: the sites were asked to train with other parameters"):
        verify_run(run.folder, SCAFFOLD.model, coordinator=COORDINATOR_SIGNS, site_keys=SITE_SIGNS)
