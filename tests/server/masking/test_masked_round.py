"""A masked round gives the exact sum of whoever survives, or none and says why."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes import COORDINATOR_KEY, TRAIN, coordinator_log
from tests.masked_sessions import PARAMETERS, RING, key_of, masked_plan, names
from tests.server.masking.masked_sites import MaskingSite, SiteGoneError

from fed_common.masking.statements import Revelation, read_lines, sign_line
from fed_common.masking.terms import threshold_of
from fed_common.messages import RoundPlan, Step, StepAnswer, seal, unseal
from fed_common.names import SiteName, body_digest
from fed_server.exchange import Answer, NoAnswer, Question
from fed_server.masking.round import run_masked_round
from fed_server.rounds import Coordinator, RoundOutcome
from fed_server.screening import SiteReply

Outcome = RoundOutcome[NDArray[np.float64]]

PARAMETER_BYTES = bytes(4 * PARAMETERS)


def update_of(place: int) -> NDArray[np.float64]:
    values_P = np.random.default_rng(place).normal(size=PARAMETERS)
    return values_P * (TRAIN.update_clip / np.linalg.norm(values_P))


@dataclass
class Line:
    """Asks the sites of a question one after another; an exception is a dead line."""

    sites: dict[SiteName, MaskingSite]

    def online(self) -> frozenset[SiteName]:
        return frozenset(self.sites)

    def ask(self, question: Question) -> Iterator[Answer | NoAnswer]:
        for site in question.sites:
            try:
                yield Answer(site=site, payload=self.sites[site](question.payload))
            except SiteGoneError:
                yield NoAnswer(site=site, reason="offline")


@dataclass
class Round:
    """The sites of one plan, and what the coordinator hears of them."""

    plan: RoundPlan
    sites: dict[SiteName, MaskingSite]
    heard: list[SiteReply]

    def run(self, *, quorum: int = 2) -> Outcome:
        coordinator = Coordinator(
            key=COORDINATOR_KEY,
            site_keys={site: key_of(site).verifying_key for site in self.sites},
            officer_keys={},
            log=coordinator_log(),
            exchange=Line(self.sites),
            quorum=quorum,
            deadline_s=60.0,
        )
        return run_masked_round(
            self.plan,
            PARAMETER_BYTES,
            coordinator=coordinator,
            check=lambda reply: reply,
            on_reply=self.heard.append,
        )

    def mean_of(self, places: list[int]) -> NDArray[np.float64]:
        """Return the weighted mean in integers, as a plain round on the same grid would have it."""
        weights = {place: self.plan.cohort[place].patients for place in places}
        rounded = {place: np.rint(update_of(place) * RING.scale).astype(np.int64) for place in places}
        total_P = sum((weights[place] * rounded[place] for place in places), np.zeros(PARAMETERS, np.int64))
        mean_P: NDArray[np.float64] = total_P / RING.scale / sum(weights.values())
        return mean_P


def round_of(count: int, folder: Path) -> Round:
    sites = {
        site: MaskingSite(name=site, update_P=update_of(place), folder=folder)
        for place, site in enumerate(names(count))
    }
    return Round(
        plan=replace(masked_plan(count), parameters=body_digest(PARAMETER_BYTES)), sites=sites, heard=[]
    )


@pytest.mark.parametrize("count", [3, 4, 5, 10])
def test_the_mean_is_that_of_the_plain_updates_to_the_last_bit(tmp_path: Path, count: int) -> None:
    masked = round_of(count, tmp_path)
    outcome = masked.run()
    assert outcome.result is not None
    assert np.array_equal(outcome.result, masked.mean_of(list(range(count))))
    assert outcome.included == tuple(sorted(names(count))) and outcome.failures == ()


LOST = [(count, step, place) for count in (3, 4, 5) for step in get_args(Step) for place in range(count)]


@pytest.mark.parametrize(("count", "step", "place"), LOST)
def test_a_site_lost_at_any_step_leaves_the_others_sum_or_a_round_with_a_reason(
    tmp_path: Path, count: int, step: Step, place: int
) -> None:
    """Fault 88, from the coordinator's side."""
    masked = round_of(count, tmp_path)
    gone = names(count)[place]
    masked.sites[gone].gone_at = step
    outcome = masked.run()
    others = [other for other in range(count) if other != place]
    before, late = step in ("advertise", "share"), step in ("confirm", "unmask")
    enough = count - 1 >= (3 if before else threshold_of(count))
    assert [failure.site for failure in outcome.failures] == [gone]
    if enough:
        assert outcome.result is not None
        assert np.array_equal(outcome.result, masked.mean_of(list(range(count)) if late else others))
        assert (gone in outcome.included) == late
    else:
        assert outcome.result is None and outcome.included == ()
        assert bool(outcome.abandoned) == (not before)
    assert set(outcome.answered) == set(names(count))  # the charge of the one that was lost is known, too


def test_a_plain_update_in_answer_to_a_masked_plan_is_not_even_read(tmp_path: Path) -> None:
    masked = round_of(4, tmp_path)
    careless = masked.sites[names(4)[0]]
    careless.plainly = True
    outcome = masked.run()
    assert [(failure.site, failure.code) for failure in outcome.failures] == [(careless.name, "malformed")]
    assert outcome.result is not None and np.array_equal(outcome.result, masked.mean_of([1, 2, 3]))


@pytest.mark.parametrize("step", ["mask", "confirm", "unmask"])
def test_an_abandoned_round_is_not_masked_again_even_after_all_have_restarted(
    tmp_path: Path, step: Step
) -> None:
    masked = round_of(3, tmp_path)
    first, second, third = masked.sites.values()
    third.gone_at = step
    assert masked.run().abandoned
    for site in masked.sites.values():
        site.restart()
        site.steps.clear()
    third.gone_at = None
    again = masked.run()
    assert again.result is None and "masked the update of this round before" in again.abandoned
    assert "mask" not in [*first.steps, *second.steps, *third.steps]


def test_a_broken_session_before_any_mask_is_followed_by_one_with_new_keys(tmp_path: Path) -> None:
    masked = round_of(4, tmp_path)
    masked.sites[names(4)[0]].gone_at = "share"
    outcome = masked.run()
    assert outcome.result is not None and len(outcome.included) == 3
    other = masked.sites[names(4)[1]]
    assert other.steps == ["advertise", "share", "advertise", "share", "mask", "confirm", "unmask"]


def test_fewer_survivors_than_the_quorum_are_not_unmasked(tmp_path: Path) -> None:
    masked = round_of(4, tmp_path)
    masked.sites[names(4)[0]].gone_at = "mask"
    outcome = masked.run(quorum=4)
    assert outcome.result is None and "3 sites masked their updates, 4 must have" in outcome.abandoned
    assert all("confirm" not in site.steps for site in masked.sites.values())


def replaced_body(message: bytes, site: SiteName, body: bytes) -> bytes:
    statement, _ = unseal(message, StepAnswer, key_of(site).verifying_key)
    return seal(replace(statement, body=body_digest(body)), body, key_of(site))


@pytest.mark.parametrize("garbage", [b"\x55" * (4 * PARAMETERS), b"short"])
def test_a_masked_update_that_is_none_spoils_no_model(tmp_path: Path, garbage: bytes) -> None:
    """Fault 91, a masked vector of another round among them: the sum is no mean of clipped updates."""
    masked = round_of(5, tmp_path)
    liar = names(5)[2]
    masked.sites[liar].tamper = lambda step, message: (
        replaced_body(message, liar, garbage) if step == "mask" else message
    )
    outcome = masked.run()
    if garbage == b"short":
        assert outcome.result is not None and liar not in outcome.included
        assert [(failure.site, failure.code) for failure in outcome.failures] == [(liar, "malformed")]
    else:
        assert outcome.result is None and "of updates clipped to 1" in outcome.abandoned


@pytest.mark.parametrize("step", get_args(Step))
def test_a_site_that_sends_no_sense_is_named(tmp_path: Path, step: Step) -> None:
    masked = round_of(5, tmp_path)
    liar = names(5)[2]
    masked.sites[liar].tamper = lambda asked, message: (
        replaced_body(message, liar, b"no sense") if asked == step else message
    )
    outcome = masked.run()
    assert {failure.site for failure in outcome.failures} == {liar}
    assert outcome.result is not None


def test_one_wrong_share_is_outvoted(tmp_path: Path) -> None:
    """Fault 86: of five sites four must help; the one that lies about its share is not needed."""
    masked = round_of(5, tmp_path)
    liar = names(5)[0]

    def lie(step: Step, message: bytes) -> bytes:
        if step != "unmask":
            return message
        _, body = unseal(message, StepAnswer, key_of(liar).verifying_key)
        return replaced_body(message, liar, lied_about(bytes(body), liar))

    masked.sites[liar].tamper = lie
    outcome = masked.run()
    assert outcome.result is not None
    assert np.array_equal(outcome.result, masked.mean_of([0, 1, 2, 3, 4]))


def lied_about(body: bytes, liar: SiteName) -> bytes:
    fact = read_lines(body, Revelation, {liar: key_of(liar).verifying_key})[liar]
    wrong = tuple(replace(seed, share="00" * 33) for seed in fact.self_seeds)
    return sign_line(replace(fact, self_seeds=wrong), key_of(liar))
