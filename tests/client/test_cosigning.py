"""A site co-signs a finished model only if all that is said agrees with what it knows itself."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes import (
    COORDINATOR_KEY,
    EVALUATE,
    FIRST_P,
    MODEL,
    NORTH,
    POLICY,
    RUN,
    SITE_KEYS,
    dataset_of,
    new_key,
    opened_site,
    plan_of,
    privacy_of,
    sealed,
)
from tests.released_models import MANIFEST

from fed_client import privacy_statement
from fed_client.site import Site
from fed_common import signed_fact
from fed_common.artefacts.cosigning import CosignAnswer, CosignRequest, seal_request
from fed_common.artefacts.participation import SiteRounds, StartingPoint
from fed_common.artefacts.statement import encode_statement
from fed_common.checkpoint import Manifest, SitePrivacy, encode_model, parameter_bytes
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.messages import PrivacyStatement, RoundPlan
from fed_common.names import Digest, RunId, body_digest, digest_of
from fed_common.plans import Normalisation
from fed_common.signing import SigningKey
from fed_common.vote import Rollback

ROUNDS = 2
BEGUN = StartingPoint(run=RunId("run-0"), round=9, checkpoint=Digest("c" * 64), sites=(NORTH,))


def plan(number: int, *, evaluate: bool = False) -> RoundPlan:
    asked = plan_of(EVALUATE, number=number) if evaluate else plan_of(number=number)
    return replace(asked, rounds=ROUNDS)


def request(manifest: Manifest, *, key: SigningKey = COORDINATOR_KEY, expires: int = 1 << 40) -> bytes:
    statement = encode_statement(manifest, subject=manifest.file).decode()
    return seal_request(CosignRequest(statement=statement, expires=expires), key)


def finished(site: Site) -> Manifest:
    """Let the site train two rounds and evaluate the last model; return what is true of it."""
    for number in (1, 2):
        site.answer(sealed(plan(number)))
    evaluation = plan(2, evaluate=True)
    site.answer(sealed(evaluation))
    return replace(
        MANIFEST,
        round=ROUNDS,
        rounds=ROUNDS,
        parameters=evaluation.parameters,
        previous=evaluation.lineage[-1],
        sites=(SitePrivacy(site=NORTH, privacy=site.privacy()),),
        trained=(SiteRounds(site=NORTH, rounds=2, first=1, last=2),),
    )


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Manifest]:
    stack = ExitStack()  # closed with the process: tests only ask
    site = stack.enter_context(opened_site(tmp_path_factory.mktemp("site"), dataset=dataset_of(8)))
    return site, finished(site)


def told(message: bytes) -> CosignAnswer:
    return signed_fact.verify(message, CosignAnswer, SITE_KEYS[NORTH].verifying_key)


def refusal_of(site: Site, manifest: Manifest) -> str:
    answer = told(site.answer(request(manifest)))
    assert answer.signature is None and answer.refusal is not None
    assert answer.refusal.code == "cosignature-refused"
    return answer.refusal.detail


def test_what_agrees_is_signed_and_costs_nothing(signer: tuple[Site, Manifest]) -> None:
    site, manifest = signer
    charges = len(site.ledger.events)
    answer = told(site.answer(request(manifest)))
    assert answer.signature is not None and answer.refusal is None
    statement = encode_statement(manifest, subject=manifest.file)
    answer.signature.verify(SITE_KEYS[NORTH].verifying_key, statement)
    assert answer.statement == digest_of(statement)
    assert told(site.answer(request(manifest))) == answer
    assert len(site.ledger.events) == charges


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: replace(m, round=1), "not the manifest of a finished run"),
        (lambda m: replace(m, task=Digest("t")), "not the task or the network"),
        (lambda m: replace(m, model="resnet-18"), "not the task or the network"),
        (lambda m: replace(m, classes=("sick", "healthy")), "not the task or the network"),
        (lambda m: replace(m, positive="healthy"), "not the task or the network"),
        (lambda m: replace(m, multi_label=True), "not the task or the network"),
        (lambda m: replace(m, parameters=Digest("p")), "not the model that this site evaluated"),
        (lambda m: replace(m, file=digest_of(b"another file")), "not the model that this site evaluated"),
        (
            lambda m: asking(m, normalisation=Normalisation(mean=0.4)),
            "not the model that this site evaluated",
        ),
        (lambda m: replace(m, run=RunId("run-2")), "not the model that this site evaluated"),
        (lambda m: replace(m, round=3, rounds=3), "not the model that this site evaluated"),
        (lambda m: asking(m, learning_rate=0.2), "not the terms with which this site trained"),
        (lambda m: replace(m, previous=Digest("c" * 64)), "doesn't follow the checkpoint"),
        (lambda m: replace(m, sites=()), "nothing is said of this site's privacy"),
        (lambda m: stating(m, lambda p: replace(p, epsilon=0.1)), "not what this site stated"),
        (lambda m: stating(m, lambda p: replace(p, delta=1e-9)), "not what this site stated"),
        (lambda m: replace(m, sites=(SitePrivacy(site=NORTH, privacy=privacy_of()),)), "not what this site"),
        (lambda m: trained(m, rounds=3), "not the rounds in which this site trained"),
        (lambda m: trained(m, first=0), "not the rounds in which this site trained"),
        (lambda m: trained(m, last=7), "not the rounds in which this site trained"),
        (lambda m: replace(m, settings=Digest("s2")), "has signed another statement of this run"),
        (lambda m: replace(m, iterate=Digest("i")), "has signed another statement of this run"),
        (lambda m: replace(m, trained=()), "has signed another statement of this run"),
        (lambda m: replace(m, begun_from=BEGUN), "has signed another statement of this run"),
    ],
)
def test_what_does_not_agree_is_not_signed(
    signer: tuple[Site, Manifest], change: Callable[[Manifest], Manifest], reason: str
) -> None:
    site, manifest = signer
    assert told(site.answer(request(manifest))).signature is not None
    assert reason in refusal_of(site, change(manifest))


def asking(manifest: Manifest, **changes: Any) -> Manifest:
    return replace(manifest, terms=replace(manifest.terms, **changes))


def stating(manifest: Manifest, change: Callable[[PrivacyStatement], PrivacyStatement]) -> Manifest:
    (stated,) = manifest.sites
    return replace(manifest, sites=(replace(stated, privacy=change(stated.privacy)),))


def trained(manifest: Manifest, *, rounds: int = 2, first: int = 1, last: int = 2) -> Manifest:
    return replace(manifest, trained=(SiteRounds(site=NORTH, rounds=rounds, first=first, last=last),))


def test_a_model_that_stands_again_is_signed_if_it_was_evaluated_then(tmp_path: Path) -> None:
    with opened_site(tmp_path) as site:
        before = plan(1, evaluate=True)
        site.answer(sealed(before, FIRST_P + np.float32(0.5)))
        stood = body_digest(parameter_bytes(FIRST_P + np.float32(0.5)))
        stood_file = digest_of(encode_model(FIRST_P + np.float32(0.5), MODEL))
        manifest = replace(finished(site), parameters=stood, file=stood_file)
        rolled_back = replace(manifest, rollback=Rollback(to=1, worse=(NORTH,)))
        assert told(site.answer(request(rolled_back))).signature is not None
        assert "evaluated after round 2" in refusal_of(site, manifest)
        elsewhere = replace(manifest, rollback=Rollback(to=0, worse=(NORTH,)))
        assert "evaluated after round 0" in refusal_of(site, elsewhere)


def test_a_charge_that_is_left_out_is_not_signed_over(tmp_path: Path) -> None:
    with opened_site(tmp_path) as site:
        site.answer(sealed(plan(1)))
        before = site.privacy()
        manifest = finished(site)
        earlier = replace(manifest, sites=(SitePrivacy(site=NORTH, privacy=before),))
        assert "not what this site stated" in refusal_of(site, earlier)
        site.ledger.charge(RUN, 3, "train", site.ledger.events[0].spend)  # its answer was lost
        assert "charged more for the run than is said" in refusal_of(site, manifest)


def test_a_run_that_was_said_to_be_longer_is_not_finished(tmp_path: Path) -> None:
    with opened_site(tmp_path) as site:
        manifest = finished(site)
    with opened_site(tmp_path / "longer") as site:
        for asked in (plan(1), plan(2), plan(2, evaluate=True)):
            site.answer(sealed(replace(asked, rounds=9)))
        stated = (SitePrivacy(site=NORTH, privacy=site.privacy()),)
        assert "the run has 9 rounds" in refusal_of(site, replace(manifest, sites=stated))


def test_a_site_signs_later_after_other_runs_a_restart_and_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = replace(POLICY, epsilon=100.0)
    with opened_site(tmp_path, policy=policy) as site:
        manifest = finished(site)
        for run in map(RunId, ("run-2", "run-3")):
            site.answer(sealed(replace(plan(1, evaluate=True), run=run)))
    monkeypatch.setattr(privacy_statement, "code_digest", lambda: digest_of(b"the next release"))
    with opened_site(tmp_path, policy=replace(policy, delta=1e-6)) as restarted:
        assert told(restarted.answer(request(manifest))).signature is not None
        assert "another statement" in refusal_of(restarted, replace(manifest, settings=Digest("s2")))


def test_only_the_last_runs_are_known(tmp_path: Path) -> None:
    with opened_site(tmp_path, policy=replace(POLICY, epsilon=100.0)) as site:
        manifest = finished(site)
        for number in range(2, 10):
            site.answer(sealed(replace(plan(1, evaluate=True), run=RunId(f"run-{number}"))))
        assert "not the model that this site evaluated" in refusal_of(site, manifest)


def test_a_site_that_evaluated_nothing_signs_nothing(tmp_path: Path) -> None:
    with opened_site(tmp_path) as site:
        site.answer(sealed(plan(1)))
        assert "not the model that this site evaluated" in refusal_of(site, MANIFEST)


def test_only_the_coordinator_is_answered_and_only_in_time(signer: tuple[Site, Manifest]) -> None:
    site, manifest = signer
    with pytest.raises(TrustError):
        site.answer(request(manifest, key=new_key()))
    with pytest.raises(TrustError, match="expired"):
        site.answer(request(manifest, expires=1))
    with pytest.raises(MalformedMessageError):
        site.answer(b"FEDC" + b"{}")


def test_what_is_no_statement_is_not_signed(signer: tuple[Site, Manifest]) -> None:
    site, manifest = signer
    asked = seal_request(CosignRequest(statement='{"epsilon":0}', expires=1 << 40), COORDINATOR_KEY)
    answer = told(site.answer(asked))
    assert answer.signature is None and answer.refusal is not None
    assert "not a statement with a Manifest" in answer.refusal.detail
    assert "not the manifest of a finished run" in refusal_of(site, replace(manifest, rounds=9))
    assert manifest.run == RUN
