"""A crash while a candidate is measured exchanges it for no other, so that its sites can still co-sign it."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import (
    COORDINATOR_KEY,
    COORDINATOR_SIGNS,
    EAST,
    FIRST_P,
    NORTH,
    SITE_KEYS,
    SITES,
    SOUTH,
    ObedientSite,
    new_key,
    privacy_of,
)
from tests.released_models import SITE_SIGNS
from tests.server.masking.test_masked_run import MASKED, masked_run
from tests.server.runs import SETTINGS, Crash, Run, new_run

from fed_common.audit_log.comparison import COORDINATOR, contradictions
from fed_common.audit_log.handed_out import CheckedLog
from fed_common.checkpoint import SitePrivacy
from fed_common.errors import TrustError
from fed_common.messages import AnswerStatement, seal, unseal
from fed_common.names import digest_of
from fed_server.artefacts.verification import verify_run
from fed_server.averaging import Weights
from fed_server.candidate import Candidate, CandidateFile
from fed_server.journal import RoundPublished, RunEvent, SiteAnswered
from fed_server.settings import RunSettings

BEFORE = digest_of(b"the checkpoint before")
PLAIN = Weights.first(FIRST_P)
AVERAGED = Weights(model_P=FIRST_P, iterate_P=FIRST_P + np.float32(1.0))


def candidate_of(weights: Weights) -> Candidate:
    stated = SitePrivacy(site=NORTH, privacy=privacy_of(events=3))
    return Candidate(weights=weights, sites=(stated,), included=(NORTH, SOUTH))


def kept(folder: Path, weights: Weights = PLAIN) -> CandidateFile:
    file = CandidateFile(path=folder / "candidate", key=COORDINATOR_KEY)
    file.keep(candidate_of(weights), previous=BEFORE)
    return file


@pytest.mark.parametrize("weights", [PLAIN, AVERAGED])
def test_what_is_kept_is_found_to_the_last_bit(tmp_path: Path, weights: Weights) -> None:
    found = kept(tmp_path, weights).find(BEFORE)
    assert found is not None
    assert np.array_equal(found.weights.model_P, weights.model_P)
    assert np.array_equal(found.weights.iterate_P, weights.iterate_P)
    assert (found.sites, found.included) == (candidate_of(weights).sites, candidate_of(weights).included)


def test_one_of_another_round_and_one_that_was_dropped_are_none(tmp_path: Path) -> None:
    file = kept(tmp_path)
    assert file.find(digest_of(b"another checkpoint")) is None
    file.drop()
    assert file.find(BEFORE) is None
    file.drop()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda raw: raw[:-4], id="cut short"),
        pytest.param(lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), id="a bit of the parameters"),
        pytest.param(lambda raw: raw.replace(b"north", b"south", 1), id="whom it is made of"),
        pytest.param(lambda raw: b"", id="empty"),
    ],
)
def test_a_damaged_one_is_none(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = kept(tmp_path)
    file.path.write_bytes(damage(file.path.read_bytes()))
    assert file.find(BEFORE) is None
    kept(tmp_path)
    assert replace(file, key=new_key()).find(BEFORE) is None


def crash_in_the_last_evaluation(event: RunEvent) -> None:
    if isinstance(event, SiteAnswered) and (event.round, event.phase, event.site) == (2, "evaluate", SOUTH):
        raise Crash


def crashed(run: Run, settings: RunSettings, *, keeps: bool) -> Run:
    """Return a run whose sites have evaluated a candidate that the coordinator `keeps`, or has lost."""
    with pytest.raises(Crash):
        run.start(settings=settings, observer=crash_in_the_last_evaluation)
    assert run.folder.candidate.exists()
    if not keeps:
        run.folder.candidate.unlink()
    return run


def last_round_of(run: Run, settings: RunSettings, *, kept: bool) -> RoundPublished:
    """Return what is told of the last round; `verify-run` tells if the candidate wasn't kept."""
    other = pytest.raises(TrustError, match="round 2: the sites were asked to evaluate with other parameters")
    with nullcontext() if kept else other:
        verify_run(run.folder, settings.model, coordinator=COORDINATOR_SIGNS, site_keys=SITE_SIGNS)
    assert not run.folder.candidate.exists()
    events = run.folder.journal.read()
    return [event for event in events if isinstance(event, RoundPublished)][-1]


def counting(site: ObedientSite) -> Callable[[bytes], bytes]:
    """Return the site, which states how many plans it has answered."""

    def answer(payload: bytes) -> bytes:
        statement, body = unseal(site(payload), AnswerStatement, SITE_SIGNS[site.name])
        stated = replace(statement, privacy=privacy_of(events=len(site.plans)))
        return seal(stated, body, SITE_KEYS[site.name])

    return answer


@pytest.mark.parametrize("keeps", [True, False])
def test_sites_are_asked_about_the_same_candidate_although_one_is_away_now(
    tmp_path: Path, keeps: bool
) -> None:
    run = new_run(tmp_path)
    run.sites[SOUTH] = counting(ObedientSite(SOUTH, value=0.002))
    crashed(run, SETTINGS, keeps=keeps).offline.add(SOUTH)
    published = run.start()
    stated = {site.site: site.privacy for site in published.manifest.sites}[SOUTH]
    assert stated == privacy_of(events=3 if keeps else 1)  # south has charged three times
    # Off: another candidate would be another question, which a log can't tell from a second model.
    assert len(run.questions[2, "evaluate"]) == 1
    assert not list(contradictions(CheckedLog(owner=COORDINATOR, lines=run.log.read())))
    last = last_round_of(run, SETTINGS, kept=keeps)
    assert last.sites == ((EAST, NORTH, SOUTH) if keeps else (EAST, NORTH))
    assert [row.site for row in last.federated] == ([None, EAST, NORTH] if keeps else [])


@pytest.mark.parametrize("keeps", [True, False])
def test_a_masked_sum_outlives_a_crash_in_the_evaluation(tmp_path: Path, keeps: bool) -> None:
    run, hospitals = masked_run(tmp_path)
    crashed(run, MASKED, keeps=keeps)
    for hospital in hospitals.values():
        hospital.masking.restart()
    run.start(settings=MASKED)
    assert len(run.questions[2, "evaluate"]) == 1
    assert not list(contradictions(CheckedLog(owner=COORDINATOR, lines=run.log.read())))
    assert len(last_round_of(run, MASKED, kept=keeps).sites) == (len(SITES) if keeps else 0)  # off: abandoned
