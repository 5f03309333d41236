"""A run ends with the same model whatever interrupts it, and no interruption asks for another spend."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tests.fakes import (
    COORDINATOR_SIGNS,
    EAST,
    FIRST_P,
    MODEL,
    NORTH,
    SITES,
    SOUTH,
    ObedientSite,
    answer_to,
    privacy_of,
)
from tests.server.runs import SETTINGS, Crash, CrashAt, Run, new_run

from fed_common import checkpoint as checkpoints
from fed_common.checkpoint import FIRST
from fed_common.errors import ConfigError, QuorumError, TrustError
from fed_common.messages import PlanStatement, Refusal, unseal
from fed_server.averaging import Averaging
from fed_server.journal import ModelCosigned, RoundPublished, RunFinished, RunResumed, SiteFailed
from fed_server.settings import TrainingTable


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(tmp_path)


def test_a_run_publishes_a_chain_of_signed_rounds(run: Run) -> None:
    last = run.start()
    chain = run.chain()
    assert [link.manifest.round for link in chain] == [0, 1, 2]
    assert [link.manifest.previous for link in chain] == [FIRST, chain[0].digest, chain[1].digest]
    assert np.allclose(last.parameters_P, FIRST_P + 2 * 0.001, atol=1e-6)
    assert (run.folder.path / "model.safetensors").read_bytes() == checkpoints.encode_model(
        last.parameters_P, MODEL
    )


def test_the_figures_are_those_of_the_sites_counts(run: Run) -> None:
    run.start()
    first, second = (event for event in run.folder.journal.read() if isinstance(event, RoundPublished))
    assert first.federated == ()  # every second round
    assert [row.site for row in second.federated] == [None, EAST, NORTH, SOUTH]
    for row in second.federated:
        assert row.figures.auc is not None and row.figures.auc.value == pytest.approx(1.0)
        assert row.figures.accuracy is not None and row.figures.accuracy.value == pytest.approx(1.0)
    assert second.test is not None and second.test == run.chain()[-1].manifest.test


def test_one_bad_site_is_left_out_named_and_the_run_goes_on(run: Run) -> None:
    run.sites[EAST] = lambda payload: b"garbage"
    last = run.start()
    failed = {(e.site, e.code) for e in run.folder.journal.read() if isinstance(e, SiteFailed)}
    assert failed == {(EAST, "malformed")}
    assert last.manifest.round == 2
    assert [stated.site for stated in last.manifest.sites] == [NORTH, SOUTH]


def test_without_a_quorum_the_very_same_plan_is_asked_again_and_the_model_stands(run: Run) -> None:
    run.sites.update({site: lambda payload: b"garbage" for site in (EAST, SOUTH)})
    with pytest.raises(QuorumError, match="1 of 2 needed sites"):
        run.start()
    asked = run.sites[NORTH]
    assert isinstance(asked, ObedientSite)
    assert len(asked.plans) == 2 and asked.plans[0] == asked.plans[1]
    (only,) = run.chain()
    assert np.array_equal(only.parameters_P, FIRST_P)


def test_with_too_few_sites_connected_nobody_is_asked(run: Run) -> None:
    run.offline = {EAST, SOUTH}
    with pytest.raises(QuorumError, match="connected"):
        run.start()
    assert run.questions == {}
    run.offline = {SOUTH}
    assert run.start().manifest.round == 2


@pytest.mark.parametrize("averaging", get_args(Averaging))
def test_a_crash_at_any_event_changes_neither_plans_nor_model(tmp_path: Path, averaging: Averaging) -> None:
    settings = replace(SETTINGS, training=SETTINGS.training.model_copy(update={"averaging": averaging}))
    whole = new_run(tmp_path)
    count = CrashAt(0)
    expected = whole.start(observer=count, settings=settings)
    for number in range(1, count.seen + 1):
        crashed = new_run(tmp_path / str(number))
        with pytest.raises(Crash):
            crashed.start(observer=CrashAt(number), settings=settings)
        assert crashed.start(settings=settings).digest == expected.digest
        assert crashed.questions == whole.questions
        assert [link.digest for link in crashed.chain()] == [link.digest for link in whole.chain()]


@pytest.mark.parametrize("call", range(1, 10))
def test_a_crash_while_any_site_answers_changes_neither_plans_nor_model(run: Run, call: int) -> None:
    calls = 0

    def crashing(site: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        def answer(payload: bytes) -> bytes:
            nonlocal calls
            calls += 1
            if calls == call:
                raise Crash
            return site(payload)

        return answer

    run.sites = {name: crashing(site) for name, site in run.sites.items()}
    with pytest.raises(Crash):
        run.start()
    assert np.allclose(run.start().parameters_P, FIRST_P + 2 * 0.001, atol=1e-6)
    assert all(len(digests) == 1 for digests in run.questions.values())


def test_a_finished_run_asks_nobody_again(run: Run) -> None:
    first = run.start()
    run.questions.clear()
    assert run.start().digest == first.digest
    assert run.questions == {}
    resumed, cosigned, finished = run.folder.journal.read()[-3:]
    assert (resumed, finished) == (RunResumed(round=2), RunFinished(rounds=2))
    assert isinstance(cosigned, ModelCosigned) and len(cosigned.sites) == len(SITES)


def test_changed_settings_are_refused_on_resume(run: Run) -> None:
    run.offline = {EAST, SOUTH}
    with pytest.raises(QuorumError):
        run.start()
    changed = replace(SETTINGS, training=TrainingTable(rounds=3, steps_per_round=1, learning_rate=0.1))
    with pytest.raises(ConfigError, match="settings changed"):
        run.start(settings=changed)
    assert len(run.chain()) == 1


def test_an_averaged_model_is_published_and_the_next_round_goes_on_from_the_iterate(run: Run) -> None:
    averaged = replace(SETTINGS, training=SETTINGS.training.model_copy(update={"averaging": "late"}))
    last = run.start(settings=averaged)

    # Each round moves the iterate by 0.001; the second counts twice.
    assert np.allclose(last.parameters_P, FIRST_P + (0.001 + 2 * 0.002) / 3, atol=1e-6)
    iterate_P = checkpoints.load_iterate(run.folder.checkpoints / "0002", last, MODEL)
    assert np.allclose(iterate_P, FIRST_P + 2 * 0.001, atol=1e-6)


def test_an_iterate_that_is_not_the_manifests_is_not_gone_on_from(run: Run) -> None:
    averaged = replace(SETTINGS, training=SETTINGS.training.model_copy(update={"averaging": "late"}))
    run.start(settings=averaged)
    folder = run.folder.checkpoints / "0002"
    (folder / "iterate.safetensors").write_bytes((folder / "model.safetensors").read_bytes())

    with pytest.raises(TrustError, match="iterate"):
        run.start(settings=averaged)


def test_a_refusal_does_not_take_the_witnessed_head_back(run: Run) -> None:
    """A site with a restored ledger states an older head; the next plan must still name the newer one."""
    heads = []

    def restored(payload: bytes) -> bytes:
        plan = unseal(payload, PlanStatement, COORDINATOR_SIGNS)[0].plan
        heads.append({seen.site: seen.head for seen in plan.witnessed}.get(NORTH))
        if plan.round == 1:
            update_P = np.zeros(len(FIRST_P))
            return answer_to(plan, update_P, privacy=privacy_of(events=5))
        refusal = Refusal(code="ledger-behind-coordinator", detail="5 events are not here")
        return answer_to(plan, np.zeros(0), refusal=refusal, privacy=privacy_of(events=2))

    run.sites[NORTH] = restored
    rounds = replace(SETTINGS, training=TrainingTable(rounds=3, steps_per_round=1, learning_rate=0.1))
    run.start(settings=rounds)
    newer = privacy_of(events=5).ledger
    assert heads[0] is None and set(heads[1:]) == {newer}
