"""A site charges a personal model before it trains it, keeps it, measures it, and sends nothing of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.fake_randomness import FakeRandomness
from tests.fakes import (
    EVALUATE,
    FIRST_P,
    MODEL,
    NORTH,
    POLICY,
    SITE_KEYS,
    TRAIN,
    opened_site,
    plan_of,
    sealed,
)

from fed_client.evaluation import release_counts
from fed_client.policy import SitePolicy
from fed_client.site import Site
from fed_common import fixedpoint
from fed_common.artefacts.tensors import parameters_of
from fed_common.layout import layout_of, load_flat
from fed_common.messages import AnswerStatement, RefusalCode, unseal
from fed_common.models import build_model
from fed_common.personal.local_layers import local_part
from fed_common.personal_methods import Apfl, Ditto, LocalLayers, PersonalMethod
from fed_common.plans import EvaluationTerms, Terms, TrainTerms
from fed_common.tightening import is_as_strict

WIDE = replace(POLICY, epsilon=100.0, max_steps_per_round=6)
DITTO = replace(TRAIN, personal=Ditto(mu=0.5, steps=3))
FEDPER = replace(TRAIN, personal=LocalLayers(method="fedper"))
TUNED = replace(EVALUATE, fine_tuning=replace(TRAIN, dp=replace(TRAIN.dp, steps=5)))
HEAD_P = local_part(build_model(MODEL), LocalLayers(method="fedper"))


@contextmanager
def site_in(folder: Path, policy: SitePolicy = WIDE) -> Iterator[Site]:
    with opened_site(folder, policy=policy, randomness=FakeRandomness()) as site:
        yield site


def ask(site: Site, terms: Terms, *, number: int = 1) -> tuple[NDArray[np.float64], RefusalCode | None]:
    answer = site.answer(sealed(plan_of(terms, number=number)))
    statement, body = unseal(answer, AnswerStatement, SITE_KEYS[NORTH].verifying_key)
    values = fixedpoint.from_fixed(np.frombuffer(body, "<i8").astype(np.int64))
    return values, statement.refusal.code if statement.refusal else None


def used_by(site: Site) -> NDArray[np.float32]:
    """Return the model that the hospital finds for its own use."""
    file = site.answers.folder / "personal" / "run-1.safetensors"
    return parameters_of(file.read_bytes(), layout_of(build_model(MODEL)))


def measured(site: Site, terms: EvaluationTerms, parameters_P: NDArray[np.float32]) -> NDArray[np.float64]:
    model = build_model(MODEL)
    load_flat(model, parameters_P)
    counts = release_counts(model, site.dataset.validation, terms, positive=1, randomness=FakeRandomness())
    return counts.to_vector()


def evaluation(asked: PersonalMethod) -> EvaluationTerms:
    return replace(EVALUATE, personal=asked)


def test_ditto_is_charged_with_all_its_steps_before_it_trains(tmp_path: Path) -> None:
    with site_in(tmp_path) as site:
        ask(site, DITTO)
        assert [event.spend.steps for event in site.ledger.events] == [2 + 3]


@pytest.mark.parametrize("asked", [DITTO, replace(TRAIN, personal=Apfl(alpha=0.5))])
def test_more_steps_than_the_policy_allows_are_refused_uncharged(tmp_path: Path, asked: TrainTerms) -> None:
    with site_in(tmp_path, replace(WIDE, max_steps_per_round=3)) as site:
        assert ask(site, asked)[1] == "steps-above-ceiling"
        assert not site.ledger.events
    # Nor are they cut: what would be left of the method?
    with site_in(tmp_path / "strict", replace(WIDE, max_steps_per_round=3, beyond_limits="tighten")) as site:
        assert ask(site, asked)[1] == "steps-above-ceiling"


@pytest.mark.parametrize("asked", [DITTO, FEDPER, replace(TRAIN, personal=Apfl(alpha=0.5))])
def test_a_sites_personal_model_is_measured_and_left_for_its_use(tmp_path: Path, asked: TrainTerms) -> None:
    assert asked.personal is not None
    terms = evaluation(asked.personal)
    with site_in(tmp_path) as site:
        before, _ = ask(site, terms)
        np.testing.assert_allclose(before, measured(site, terms, FIRST_P), atol=1e-6)
        assert np.array_equal(used_by(site), FIRST_P)
        ask(site, replace(asked, learning_rate=5.0), number=2)
    with site_in(tmp_path) as site:  # after a restart
        counts, _ = ask(site, terms, number=3)
        personal_P = used_by(site)
        np.testing.assert_allclose(counts, measured(site, terms, personal_P), atol=1e-6)
        assert not np.allclose(personal_P[HEAD_P], FIRST_P[HEAD_P], atol=1e-5)
        assert np.array_equal(personal_P[~HEAD_P], FIRST_P[~HEAD_P]) == (asked is FEDPER)


def test_nothing_of_a_local_head_is_in_the_update_and_the_clip_is_of_the_rest(tmp_path: Path) -> None:
    with site_in(tmp_path) as site:
        update_P, _ = ask(site, replace(FEDPER, update_clip=1e-3))
    assert not update_P[HEAD_P].any()
    assert np.linalg.norm(update_P) == pytest.approx(1e-3, rel=1e-3)


def test_a_round_asked_again_is_the_same_bytes_and_trains_nothing_twice(tmp_path: Path) -> None:
    message = sealed(plan_of(DITTO))
    with site_in(tmp_path) as site:
        first = site.answer(message)
        (kept,) = (site.answers.folder / "personal").glob("*.vector")
        vector = kept.read_bytes()
        assert site.answer(message) == first and kept.read_bytes() == vector
        assert len(site.ledger.events) == 1


def test_fine_tuning_and_its_measure_are_two_charges(tmp_path: Path) -> None:
    with site_in(tmp_path) as site:
        counts, _ = ask(site, TUNED)
        assert [(event.phase, event.spend.steps) for event in site.ledger.events] == [
            ("evaluate", 5),
            ("evaluate", 1),
        ]
        assert not np.allclose(used_by(site), FIRST_P, atol=1e-4)
        np.testing.assert_allclose(counts, measured(site, TUNED, used_by(site)), atol=1e-6)


def test_fine_tuning_beyond_budget_or_limits_is_refused_uncharged(tmp_path: Path) -> None:
    for name, policy, code in (
        ("budget", replace(WIDE, epsilon=5.5), "budget-exhausted"),
        ("steps", replace(WIDE, max_steps_per_round=4), "steps-above-ceiling"),
        ("noise", replace(WIDE, min_noise_multiplier=1.1), "noise-below-floor"),
    ):
        with site_in(tmp_path / name, policy) as site:
            assert ask(site, TUNED)[1] == code
            assert not site.ledger.events


def test_stricter_fine_tuning_is_accepted_and_looser_or_more_is_not() -> None:
    assert TUNED.fine_tuning is not None
    fewer = replace(TUNED, fine_tuning=replace(TUNED.fine_tuning, dp=replace(TRAIN.dp, steps=1)))
    assert is_as_strict(fewer, TUNED)
    assert not is_as_strict(TUNED, fewer)
    assert not is_as_strict(TUNED, EVALUATE)
    assert not is_as_strict(EVALUATE, TUNED)


def test_a_network_without_such_layers_is_refused_uncharged(tmp_path: Path) -> None:
    with site_in(tmp_path) as site:
        assert ask(site, replace(TRAIN, personal=LocalLayers(method="fedbn")))[1] == "task-differs"
        assert not site.ledger.events
