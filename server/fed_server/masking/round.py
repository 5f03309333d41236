"""A masked round: the sites train, then tell the sum of their updates and nothing about any one.

1. Ask the cohort to train; who has an update ready takes part in what follows.
2. Open a session, with keys of its own. If it loses a site before any update was masked, another begins
   with those who are left.
3. A session that has come as far as masked updates is the last: sites mask an update once, and its charge
   stays. If it gives no sum, the round is abandoned. So is one that lacks an update which a site has lost.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fed_common.errors import QuorumError, TrustError
from fed_common.masking.terms import MIN_MEMBERS
from fed_common.messages import PrivacyStatement, RoundPlan
from fed_common.names import Bytes, SiteName
from fed_server.masking.courier import Courier
from fed_server.masking.session import AbandonedError, Dealt, MaskedMean, Session
from fed_server.rounds import Coordinator, RoundOutcome, run_round
from fed_server.screening import Contribution, FailureCode, SiteFailure, SiteReply

logger = logging.getLogger(__name__)

_SESSIONS = 3
# A site that crashed while training, or answered to a plan with other members, never trains for this round
# again; waiting for its update has no end.
_LOST: frozenset[FailureCode] = frozenset(("round-charged-without-answer", "round-asked-differently"))


def run_masked_round(
    plan: RoundPlan,
    parameters: Bytes,
    *,
    coordinator: Coordinator,
    check: Callable[[SiteReply], SiteReply],
    on_reply: Callable[[SiteReply], None],
) -> RoundOutcome[NDArray[np.float64]]:
    """Return the weighted mean update of those whose masked updates were summed; see `run_round`."""
    ready = run_round(plan, parameters, ReadySites(), coordinator=coordinator, check=check, on_reply=on_reply)
    failures = list(ready.failures)
    if ready.result is None:
        lost = sorted({failure.site for failure in failures if failure.code in _LOST})
        reason = f"the update of {', '.join(lost)} is lost" if lost else ""
        return _without_result(ready.answered, failures, abandoned=reason)

    def fail(failure: SiteFailure) -> None:
        failures.append(failure)
        on_reply(failure)

    try:
        mean = _mean(
            plan, ready.result, len(parameters) // (4 * plan.num_vectors), coordinator=coordinator, fail=fail
        )
    except QuorumError as error:
        logger.warning("round %d: %s", plan.round, error)
        reason = str(error) if isinstance(error, AbandonedError) else ""
        return _without_result(ready.answered, failures, abandoned=reason)
    outcome = _without_result(ready.answered, failures, abandoned="")
    return replace(outcome, result=mean.values_P, included=mean.sites)


def _without_result(
    answered: Mapping[SiteName, PrivacyStatement], failures: list[SiteFailure], *, abandoned: str
) -> RoundOutcome[NDArray[np.float64]]:
    return RoundOutcome(
        result=None, answered=answered, included=(), failures=tuple(failures), abandoned=abandoned
    )


def _mean(
    plan: RoundPlan,
    ready: tuple[SiteName, ...],
    num_parameters: int,
    *,
    coordinator: Coordinator,
    fail: Callable[[SiteFailure], None],
) -> MaskedMean:
    """Return what the first session gives that gets as far as masked updates (steps 2 and 3).

    Raises:
        QuorumError: too few sites are left, and none has masked its update.
        AbandonedError: some have, and no sum can be had.
    """
    if plan.masking is None:
        raise TrustError("the plan asks for no masks")
    masked_before: set[SiteName] = set()

    def note(failure: SiteFailure) -> None:
        if failure.code == "round-masked-already":
            masked_before.add(failure.site)
        fail(failure)

    needed = max(coordinator.quorum, MIN_MEMBERS)
    for _ in range(_SESSIONS):
        courier = Courier(
            plan=plan,
            masking=plan.masking,
            session=secrets.token_hex(16),
            coordinator=coordinator,
            fail=note,
        )
        session = Session(courier=courier, needed=needed)
        match session.deal(ready):
            case Dealt() as dealt:
                return session.mean(dealt, num_parameters)
            case left if len(left) < needed:
                break
            case left:
                ready = left
    if masked_before:
        raise AbandonedError(f"{', '.join(sorted(masked_before))} masked the update of this round before")
    raise QuorumError(f"{len(ready)} sites could not agree on whom to mask with, {needed} must")


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
