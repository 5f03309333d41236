"""One phase of one round, the same in service and simulation: seal, ask, screen, fold."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic

from fed_common.messages import PlanStatement, PrivacyStatement, RoundPlan, sealed_parts
from fed_common.names import Bytes, SiteName
from fed_common.signing import SigningKey, VerifyingKey
from fed_server.aggregation import AggregationRule, ResultT_co
from fed_server.coordinator_log import CoordinatorLog
from fed_server.exchange import Exchange, Question
from fed_server.screening import SiteFailure, SiteReply, screen


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """Who asks, through which exchange, whose signatures count, and how many answers how soon are enough.

    `officer_keys` are those of the privacy officers, for the sites whose resets are accepted.
    """

    key: SigningKey
    site_keys: Mapping[SiteName, VerifyingKey]
    officer_keys: Mapping[SiteName, VerifyingKey]
    log: CoordinatorLog
    exchange: Exchange
    quorum: int
    deadline_s: float


@dataclass(frozen=True, kw_only=True)
class RoundOutcome(Generic[ResultT_co]):
    """What a phase gave: a result if a quorum answered, and what became of every site.

    `included` are the sites that the result is made of; with masks a site can answer and drop out later.
    `abandoned` says why a masked round gave no result and can't be asked again.
    """

    result: ResultT_co | None
    answered: Mapping[SiteName, PrivacyStatement]
    included: tuple[SiteName, ...]
    failures: tuple[SiteFailure, ...]
    abandoned: str = ""


def run_round(
    plan: RoundPlan,
    parameters: Bytes,
    rule: AggregationRule[ResultT_co],
    *,
    coordinator: Coordinator,
    check: Callable[[SiteReply], SiteReply],
    on_reply: Callable[[SiteReply], None],
) -> RoundOutcome[ResultT_co]:
    """Ask the whole cohort and return what came of it; a failing site is a value, never an exception.

    `parameters` are those that the plan names. `check` sees every screened reply, and may make a failure of
    it.
    """
    statement = PlanStatement(
        plan=plan,
        expires=int(time.time() + coordinator.deadline_s) + 1,
        body=plan.parameters,
        log=coordinator.log.asked(plan),
    )
    question = Question(
        run=plan.run,
        round=plan.round,
        phase=plan.phase,
        sites=tuple(site.name for site in plan.cohort),
        parts=sealed_parts(statement, parameters, coordinator.key),
        deadline_s=coordinator.deadline_s,
    )
    num_parameters = len(parameters) // (4 * plan.num_vectors)
    open_round = rule.open(plan)
    answered: dict[SiteName, PrivacyStatement] = {}
    failures: list[SiteFailure] = []
    for answer in coordinator.exchange.ask(question):
        if answer.site in answered:
            continue  # the first answer counts
        site_key = coordinator.site_keys.get(answer.site)
        reply = check(screen(answer, plan, site_key, num_parameters=num_parameters))
        if reply.log is not None:
            coordinator.log.seen(reply.site, reply.log)
        if isinstance(reply, SiteFailure):
            failures.append(reply)
        else:
            open_round.fold(reply)
            answered[reply.site] = reply.privacy
        on_reply(reply)
    result = open_round.close() if len(answered) >= coordinator.quorum else None
    return RoundOutcome(
        result=result, answered=answered, included=tuple(sorted(answered)), failures=tuple(failures)
    )
