"""The coordinator's side of an audit: sealed plans go in, and only what a sealed answer says comes out."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from fed_client.dataset import LabelledImages
from fed_common import fixedpoint, updates
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.checkpoint import parameter_bytes
from fed_common.errors import PrivacyError
from fed_common.messages import AnswerStatement, PlanStatement, PrivacyStatement, RoundPlan, seal, unseal
from fed_common.names import Bytes, RunId, body_digest, digest_of
from fed_common.plans import DpTerms, SiteTerms, TrainTerms
from fed_sim.audit.canaries import SPEC
from fed_sim.audit.hospital import COORDINATOR_KEY, SITE, SITE_KEY, TASK, SiteParts, opened

# Shape letters: P parameters of the flattened model.

# What the enrolment says; an answer is divided by it, and by the sampling rate.
PATIENTS_PUBLIC = 1000
# Small against the features of canaries: the parameters stay where they were planted while a round goes on.
_STEP_LENGTH = 1e-4


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a site told in one round: the noised sum over its steps, and what it states of privacy."""

    sum_P: NDArray[np.float64]
    privacy: PrivacyStatement


def train_terms(dp: DpTerms, *, step_length: float = _STEP_LENGTH) -> TrainTerms:
    """Return terms by which an answer is `-step_length` times the sum of what the site noised."""
    divisor = dp.sampling_rate * PATIENTS_PUBLIC
    return TrainTerms(dp=dp, learning_rate=step_length * divisor, momentum=0.0, update_clip=1e4)


def ask(
    parts: SiteParts,
    images: LabelledImages,
    *,
    parameters_P: NDArray[np.float32],
    terms: TrainTerms,
    rounds: int = 1,
) -> Iterator[Told]:
    """Yield what a site, opened for these `rounds`, tells when asked each time from the same parameters.

    Raises:
        PrivacyError: it refuses.
    """
    body = parameter_bytes(parameters_P)
    step_length = terms.learning_rate / (terms.dp.sampling_rate * PATIENTS_PUBLIC)
    with TemporaryDirectory(prefix="fed-audit-") as folder, opened(parts, images, Path(folder)) as site:
        for number in range(1, rounds + 1):
            plan = _plan(terms, number=number, rounds=rounds, body=body)
            question = PlanStatement(
                plan=plan, expires=int(time.time()) + 3600, body=body_digest(body), log=EMPTY_LOG
            )
            answer = site.answer(seal(question, body, COORDINATOR_KEY))
            statement, raw = unseal(answer, AnswerStatement, SITE_KEY.verifying_key)
            if statement.refusal is not None:
                raise PrivacyError(f"the site refused: {statement.refusal.detail}")
            fixed_P = updates.decode(raw, terms, size=len(parameters_P))
            yield Told(sum_P=-fixedpoint.from_fixed(fixed_P) / step_length, privacy=statement.privacy)


def _plan(terms: TrainTerms, *, number: int, rounds: int, body: Bytes) -> RoundPlan:
    return RoundPlan(
        run=RunId("audit"),
        round=number,
        rounds=rounds,
        task=TASK.digest,
        model=SPEC.fingerprint,
        parameters=body_digest(body),
        # None are published: each round begins anew.
        lineage=tuple(digest_of(b"%d" % before) for before in range(number)),
        cohort=(SiteTerms(name=SITE, patients=PATIENTS_PUBLIC),),
        terms=terms,
        witnessed=(),
    )
