"""Carries one step of a masked round to the sites and back, and leaves out whoever answers it badly."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fed_common.errors import MalformedMessageError, TrustError
from fed_common.masking.statements import Signed, read_lines
from fed_common.masking.terms import Masking
from fed_common.messages import RoundPlan, Step, StepAnswer, StepStatement, sealed_parts, unseal
from fed_common.names import SiteName, body_digest
from fed_common.signing import VerifyingKey
from fed_server.exchange import Answer, NoAnswer, Question
from fed_server.rounds import Coordinator
from fed_server.screening import MAX_DETAIL, SiteFailure


@dataclass(frozen=True, kw_only=True)
class Courier:
    """One session's way to the sites; `fail` is told of each site that is left out."""

    plan: RoundPlan
    masking: Masking
    session: str
    coordinator: Coordinator
    fail: Callable[[SiteFailure], None]

    def ask(
        self, step: Step, sites: Iterable[SiteName], body: bytes = b""
    ) -> Iterator[tuple[SiteName, bytes]]:
        """Yield what each site tells, once each, as it comes."""
        coordinator = self.coordinator
        statement = StepStatement(
            plan=self.plan,
            session=self.session,
            step=step,
            expires=int(time.time() + coordinator.deadline_s) + 1,
            body=body_digest(body),
        )
        question = Question(
            run=self.plan.run,
            round=self.plan.round,
            phase=self.plan.phase,
            sites=tuple(sites),
            parts=sealed_parts(statement, body, coordinator.key),
            deadline_s=coordinator.deadline_s,
        )
        heard: set[SiteName] = set()
        for answer in coordinator.exchange.ask(question):
            if answer.site in heard:
                continue
            heard.add(answer.site)
            match screen_step(answer, statement, coordinator.site_keys.get(answer.site)):
                case SiteFailure() as failure:
                    self.fail(failure)
                case bytes() as told:
                    yield answer.site, told

    def gather(
        self, step: Step, kind: type[Signed], sites: Iterable[SiteName], body: bytes = b""
    ) -> dict[SiteName, tuple[bytes, Signed]]:
        """Return the facts that the sites signed in this step, each with the line that travels on."""
        facts: dict[SiteName, tuple[bytes, Signed]] = {}
        for site, line in self.ask(step, sites, body):
            try:
                facts[site] = line, read_lines(line, kind, self.masking.keys)[site]
            except (TrustError, MalformedMessageError, KeyError) as error:
                self.fail(SiteFailure(site=site, code="malformed", detail=str(error)))
        return facts


def screen_step(
    answer: Answer | NoAnswer, statement: StepStatement, key: VerifyingKey | None
) -> bytes | SiteFailure:
    """Return what a site told in this very step, or why it is left out."""
    match answer:
        case NoAnswer(site=site, reason=reason):
            return SiteFailure(site=site, code=reason)
        case Answer(site=site, payload=payload):
            if key is None:
                return SiteFailure(site=site, code="not-enrolled")
            try:
                told, body = unseal(payload, StepAnswer, key)
            except TrustError as error:
                return SiteFailure(site=site, code="untrusted", detail=str(error))
            except MalformedMessageError as error:
                return SiteFailure(site=site, code="malformed", detail=str(error))
    if (told.site, told.plan, told.session, told.step) != (
        site,
        statement.plan.digest,
        statement.session,
        statement.step,
    ):
        return SiteFailure(site=site, code="wrong-plan", detail="it answers another step, session or plan")
    if told.refusal is not None:
        return SiteFailure(site=site, code=told.refusal.code, detail=told.refusal.detail[:MAX_DETAIL])
    return bytes(body)
