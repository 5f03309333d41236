"""Decides what of a site's answer may be used at all, before anything is folded.

An answer is opened in this order: signature of that very site, the plan it belongs to, refusal, the terms
it was made with, size, values.
One bad site is left out and named; it can't end the round.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fed_common import fixedpoint, updates
from fed_common.audit_log.head import LogHead
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.messages import AnswerStatement, PrivacyStatement, RefusalCode, RoundPlan, unseal
from fed_common.names import SiteName
from fed_common.plans import EvaluationTerms, StatisticsTerms, TrainTerms
from fed_common.signing import VerifyingKey
from fed_common.tightening import Tightened, is_as_strict
from fed_server.exchange import Answer, NoAnswer, Silence

# Encoding rounds each of P values by at most half a step; the norm of that stays far below this. In 8 bits
# it wouldn't, so that who encodes takes back what was added (`fed_common.eight_bits`).
NORM_SLACK = 1e-3

# A site's own words reach journal, terminal and report.
MAX_DETAIL = 300

FailureCode = (
    Silence
    | RefusalCode
    | Literal[
        "untrusted",
        "malformed",
        "wrong-plan",
        "terms-loosened",
        "norm-beyond-clip",
        "ledger-forked",
        "reset-refused",
    ]
)


@dataclass(frozen=True, kw_only=True)
class SiteFailure:
    """A site that adds nothing to this round, and why; the rest is known where the site itself refused."""

    site: SiteName
    code: FailureCode
    detail: str = ""
    privacy: PrivacyStatement | None = None
    log: LogHead | None = None


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What a site adds to this phase: its noised update or counts, in fixed point, and their noise.

    `values` are empty where the update will come masked; `log` is the head of the site's audit log.
    """

    site: SiteName
    values: NDArray[np.int64]
    noise_multiplier: float
    tightened: Tightened | None
    privacy: PrivacyStatement
    log: LogHead


SiteReply = Contribution | SiteFailure


def screen(
    answer: Answer | NoAnswer, plan: RoundPlan, key: VerifyingKey | None, *, num_parameters: int
) -> SiteReply:
    """Return what the answer is worth: a usable reply, or a failure that names the reason.

    `key` is None for a site that isn't enrolled, or no longer.
    """
    match answer:
        case NoAnswer(site=site, reason=reason):
            return SiteFailure(site=site, code=reason)
        case Answer(site=site, payload=payload):
            if key is None:
                return SiteFailure(site=site, code="not-enrolled")
            try:
                return _open(site, payload, plan, key, num_parameters=num_parameters)
            except TrustError as error:
                return SiteFailure(site=site, code="untrusted", detail=str(error))
            except MalformedMessageError as error:
                return SiteFailure(site=site, code="malformed", detail=str(error))


def _open(
    site: SiteName, payload: bytes, plan: RoundPlan, key: VerifyingKey, *, num_parameters: int
) -> SiteReply:
    statement, body = unseal(payload, AnswerStatement, key)
    if statement.site != site:
        return SiteFailure(site=site, code="untrusted", detail="it signed as another site")
    if statement.plan != plan.digest:
        return SiteFailure(site=site, code="wrong-plan", detail=f"it answers round {statement.round}")
    privacy = statement.privacy
    if statement.refusal is not None:
        return SiteFailure(
            site=site,
            code=statement.refusal.code,
            detail=statement.refusal.detail[:MAX_DETAIL],
            privacy=privacy,
            log=statement.log,
        )
    tightened = statement.tightened
    terms = tightened.terms if tightened else plan.terms
    if not is_as_strict(terms, plan.terms):
        return SiteFailure(site=site, code="terms-loosened", detail="its own terms aren't stricter ones")
    match terms:
        case TrainTerms() if plan.masking is not None:  # ready; its update comes masked
            values, noise = fixedpoint.from_bytes(body, size=0), terms.dp.noise_multiplier
        case TrainTerms(update_clip=clip):
            values, noise = updates.decode(body, terms, size=num_parameters), terms.dp.noise_multiplier
            norm = fixedpoint.norm(values)
            if not norm <= clip * (1 + NORM_SLACK):
                return SiteFailure(
                    site=site, code="norm-beyond-clip", detail=f"norm {norm:.3g}, at most {clip:g}"
                )
        case EvaluationTerms(bins=bins, noise_multiplier=noise):
            values = fixedpoint.from_bytes(body, size=2 * bins)
        case StatisticsTerms(classes=classes, bins=bins, noise_multiplier=noise):
            values = fixedpoint.from_bytes(body, size=classes + bins)
    return Contribution(
        site=site,
        values=values,
        noise_multiplier=noise,
        tightened=tightened,
        privacy=privacy,
        log=statement.log,
    )
