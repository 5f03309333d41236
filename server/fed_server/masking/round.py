"""A masked round: the sites train, then tell the sum of their updates and nothing about any one.

1. Ask the cohort to train; who has an update ready takes part in what follows.
2. Open a session with keys of its own: gather advertisements, then dealings. If a site is lost up to here,
   nothing of any update has been told, and another session begins with those who are left.
3. Gather masked updates, and fold them as they come. From here on the round has one chance.
4. Let the survivors confirm who they are, and reveal the shares that unmask their sum.
5. Check the sum: it is the only thing that can be seen of a broken or lying site.

A round that fails after step 3 began is abandoned: sites mask an update once, and its charge stays. So is
one that lacks an update which a site has lost.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fed_common import canonical
from fed_common.errors import MalformedMessageError, QuorumError, TrustError
from fed_common.masking.roster import Roster
from fed_common.masking.statements import (
    Advertisement,
    Confirmation,
    Dealing,
    Revelation,
    Survivors,
    join_lines,
)
from fed_common.masking.terms import MIN_MEMBERS, Masking
from fed_common.messages import PrivacyStatement, RoundPlan
from fed_common.names import SiteName
from fed_common.plans import TrainTerms
from fed_server.masking.courier import Courier
from fed_server.masking.unmasking import MaskedSum
from fed_server.rounds import Coordinator, RoundOutcome, run_round
from fed_server.screening import NORM_SLACK, Contribution, SiteFailure, SiteReply

logger = logging.getLogger(__name__)

_SESSIONS = 3


class AbandonedError(QuorumError):
    """Masked updates are out, and no sum came of them; the round can't be asked again."""


@dataclass(frozen=True, kw_only=True)
class _Sum:
    mean_P: NDArray[np.float64]
    sites: tuple[SiteName, ...]


def run_masked_round(
    plan: RoundPlan,
    parameters: bytes,
    *,
    coordinator: Coordinator,
    check: Callable[[SiteReply], SiteReply],
    on_reply: Callable[[SiteReply], None],
) -> RoundOutcome[NDArray[np.float64]]:
    """Return the weighted mean update of those whose masked updates were summed; see `run_round`."""
    if plan.masking is None:
        raise TrustError("the plan asks for no masks")
    ready = run_round(plan, parameters, ReadySites(), coordinator=coordinator, check=check, on_reply=on_reply)
    failures = list(ready.failures)
    if ready.result is None:
        # A site that crashed while training never trains for this round again; waiting for it has no end.
        lost = [failure.site for failure in failures if failure.code == "round-charged-without-answer"]
        reason = f"the update of {', '.join(lost)} was lost in a crash" if lost else ""
        return _outcome(ready.answered, failures, abandoned=reason)

    def fail(failure: SiteFailure) -> None:
        failures.append(failure)
        on_reply(failure)

    try:
        found = _sum(
            plan, plan.masking, ready.result, len(parameters) // 4, coordinator=coordinator, fail=fail
        )
    except AbandonedError as error:
        logger.warning("round %d: %s", plan.round, error)
        return _outcome(ready.answered, failures, abandoned=str(error))
    except QuorumError as error:
        logger.warning("round %d: %s", plan.round, error)
        return _outcome(ready.answered, failures)
    return replace(_outcome(ready.answered, failures), result=found.mean_P, included=found.sites)


def _outcome(
    answered: Mapping[SiteName, PrivacyStatement], failures: list[SiteFailure], *, abandoned: str = ""
) -> RoundOutcome[NDArray[np.float64]]:
    return RoundOutcome(
        result=None, answered=answered, included=(), failures=tuple(failures), abandoned=abandoned
    )


def _sum(
    plan: RoundPlan,
    masking: Masking,
    ready: tuple[SiteName, ...],
    num_parameters: int,
    *,
    coordinator: Coordinator,
    fail: Callable[[SiteFailure], None],
) -> _Sum:
    """Return the sum of the first session that gets as far as masked updates.

    Raises:
        QuorumError: too few sites are left, and none has masked its update.
        AbandonedError: some have, and no sum can be had.
    """
    masked_before: set[SiteName] = set()

    def note(failure: SiteFailure) -> None:
        if failure.code == "round-masked-already":
            masked_before.add(failure.site)
        fail(failure)

    needed = max(coordinator.quorum, MIN_MEMBERS)
    for _ in range(_SESSIONS):
        session = _Session(
            courier=Courier(
                plan=plan,
                masking=masking,
                session=secrets.token_hex(16),
                coordinator=coordinator,
                fail=note,
            ),
            needed=needed,
        )
        left, dealt = session.deal(ready)
        if dealt is not None:
            return session.sum(*dealt, num_parameters)
        if len(left) < needed:
            break
        ready = left
    if masked_before:
        raise AbandonedError(f"{', '.join(sorted(masked_before))} masked the update of this round before")
    raise QuorumError(f"{len(ready)} sites could not agree on whom to mask with, {needed} must")


@dataclass(frozen=True, kw_only=True)
class _Session:
    """One try of steps 2 to 5."""

    courier: Courier
    needed: int

    def deal(self, ready: tuple[SiteName, ...]) -> tuple[tuple[SiteName, ...], tuple[Roster, bytes] | None]:
        """Return who is left, and the roster with all its members' dealings if nobody got lost (step 2)."""
        courier = self.courier
        advertised = courier.gather("advertise", Advertisement, ready)
        left = tuple(sorted(advertised))
        if len(left) < self.needed:
            return left, None
        body = join_lines(line for line, _ in advertised.values())
        try:
            roster = Roster.read(body, courier.plan, courier.session)
        except TrustError as error:
            raise QuorumError(f"the advertised keys make no roster: {error}") from error
        dealt = courier.gather("share", Dealing, left, body)
        if len(dealt) < len(left):
            return tuple(sorted(dealt)), None
        return left, (roster, join_lines(line for line, _ in dealt.values()))

    def sum(self, roster: Roster, dealings: bytes, num_parameters: int) -> _Sum:
        """Return the mean of the survivors' updates (steps 3 to 5).

        Raises:
            AbandonedError: too few survived or helped to unmask, or the sum can't be one of clipped updates.
        """
        courier = self.courier
        total = MaskedSum(courier.masking.ring, num_parameters)
        alive: list[SiteName] = []
        for site, masked in courier.ask("mask", roster.members, dealings):
            try:
                total.fold(masked)
            except MalformedMessageError as error:
                courier.fail(SiteFailure(site=site, code="malformed", detail=str(error)))
            else:
                alive.append(site)
        needed = max(self.needed, roster.threshold)
        self._enough(len(alive), needed, "masked their updates")
        survivors = Survivors(
            roster=roster.digest,
            alive=tuple(sorted(alive)),
            dropped=tuple(site for site in roster.members if site not in alive),
        )
        confirmed = courier.gather("confirm", Confirmation, survivors.alive, canonical.encode(survivors))
        self._enough(len(confirmed), roster.threshold, "confirmed the survivors")
        body = join_lines(line for line, _ in confirmed.values())
        revealed = courier.gather("unmask", Revelation, confirmed, body)
        self._enough(len(revealed), roster.threshold, "revealed their shares")
        try:
            sum_P = total.unmask(roster, survivors, {site: fact for site, (_, fact) in revealed.items()})
            mean_P = self._mean(sum_P, survivors.alive)
        except (TrustError, MalformedMessageError) as error:
            raise AbandonedError(f"the sum can't be used: {error}") from error
        return _Sum(mean_P=mean_P, sites=survivors.alive)

    def _enough(self, count: int, needed: int, did: str) -> None:
        if count < needed:
            raise AbandonedError(f"{count} sites {did}, {needed} must have")

    def _mean(self, sum_P: NDArray[np.int64], alive: tuple[SiteName, ...]) -> NDArray[np.float64]:
        """Return the weighted mean; that of clipped updates isn't longer than the clip either (step 5)."""
        plan, ring = self.courier.plan, self.courier.masking.ring
        weight = sum(site.patients for site in plan.cohort if site.name in alive)
        mean_P = sum_P / ring.scale / weight
        clip = plan.terms.update_clip if isinstance(plan.terms, TrainTerms) else 0.0
        # Rounding adds at most half a step of the grid to each parameter.
        limit = clip * (1 + NORM_SLACK) + 0.5 / ring.scale * np.sqrt(mean_P.size)
        norm = float(np.linalg.norm(mean_P))
        if not norm <= limit:
            raise TrustError(f"its mean has norm {norm:.3g}, of updates clipped to {clip:g}")
        return mean_P


@dataclass(frozen=True)
class ReadySites:
    """The rule of the question that makes sites train: who has an update, which stays where it is."""

    def open(self, plan: RoundPlan) -> "OpenReadySites":
        """Start a round."""
        return OpenReadySites()


class OpenReadySites:
    """Who is ready so far."""

    def __init__(self) -> None:
        self._sites: list[SiteName] = []

    def fold(self, contribution: Contribution) -> None:
        """Note one site."""
        self._sites.append(contribution.site)

    def close(self) -> tuple[SiteName, ...]:
        """Return the sites by name."""
        return tuple(sorted(self._sites))
