"""Co-signs a finished model, but only one that agrees with what this site knows of the run itself.

Without it, whoever has the coordinator's key could pass any model off as the consortium's. What a site knows
is its ledger, and the models that it evaluated. It signs if all of this holds:

1. the statement is about a finished run, for the task and the network installed here;
2. the model is the one that this site evaluated after the last round or, if the manifest says that it was
   rolled back, after the round to which it was;
3. the rounds in which it is said to have trained are among those that it charged;
4. what is said of its privacy is what its ledger says, with everything that it charged for this run.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fed_client.policy import PolicyRefusal
from fed_client.site_log import SiteLog
from fed_common import canonical, signed_fact
from fed_common.artefacts.cosigning import CosignAnswer, open_request
from fed_common.artefacts.envelope import Signature
from fed_common.artefacts.statement import decode_statement
from fed_common.checkpoint import Manifest
from fed_common.errors import LedgerError, MalformedMessageError
from fed_common.files import write_atomically
from fed_common.ledger_record import LedgerRecord
from fed_common.messages import PrivacyStatement, Refusal, RoundPlan
from fed_common.models import spec_for
from fed_common.names import Digest, RunId, SiteName, digest_of
from fed_common.signing import SigningKey, VerifyingKey
from fed_common.task import Task

logger = logging.getLogger(__name__)

StatePrivacy = Callable[[LedgerRecord], PrivacyStatement]


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """A model that this site evaluated."""

    round: int
    parameters: Digest


@dataclass(frozen=True, kw_only=True)
class EvaluatedModels:
    """All models of the last run that this site evaluated."""

    run: RunId
    models: tuple[EvaluatedModel, ...]


@dataclass(frozen=True, kw_only=True)
class Cosigner:
    """One site's hand; `memory` is the file that holds which models were evaluated."""

    site: SiteName
    key: SigningKey
    coordinator: VerifyingKey
    task: Task
    memory: Path
    log: SiteLog

    def remember(self, plan: RoundPlan) -> None:
        """Keep which model a plan has this site evaluate; must come before the answer is sent.

        Raises:
            MachineError: it can't be written.
        """
        if plan.phase == "evaluate":
            this = EvaluatedModel(round=plan.round, parameters=plan.parameters)
            before = (model for model in self._evaluated(plan.run) if model.round != plan.round)
            evaluated = EvaluatedModels(run=plan.run, models=(*before, this))
            write_atomically(self.memory, canonical.encode(evaluated))

    def answer(self, message: bytes, record: LedgerRecord, state: StatePrivacy) -> bytes:
        """Return the signed answer to a request; `state` tells what a ledger says of privacy.

        Raises:
            TrustError: the request isn't the coordinator's, or is too old.
            MalformedMessageError: it is none.
        """
        with self.log.tracing_strangers():
            statement = open_request(message, self.coordinator).statement.encode()
        signature, refusal = None, None
        try:
            run = self._check(statement, record, state)
            signature = Signature.by(self.key, statement)
            logger.info("run %s is finished: its model is co-signed", run)
        except PolicyRefusal as refused:
            logger.warning("the finished model is not co-signed: %s", refused)
            refusal = Refusal(code=refused.code, detail=refused.detail)
        self.log.cosigned(digest_of(statement), given=refusal is None)
        answer = CosignAnswer(
            site=self.site, statement=digest_of(statement), signature=signature, refusal=refusal
        )
        return signed_fact.sign(answer, self.key)

    def _check(self, statement: bytes, record: LedgerRecord, state: StatePrivacy) -> RunId:
        try:
            subject, manifest = decode_statement(statement, Manifest)
        except MalformedMessageError as error:
            raise _refused(str(error)) from error
        if subject != manifest.file or manifest.round != manifest.rounds:  # 1
            raise _refused("not the manifest of a finished run")
        if (manifest.task, manifest.model) != (self.task.digest, spec_for(self.task).fingerprint):
            raise _refused("not the task or the network that is installed here")
        number = manifest.rollback.to if manifest.rollback else manifest.round
        stands = EvaluatedModel(round=number, parameters=manifest.parameters)
        if stands not in self._evaluated(manifest.run):  # 2
            raise _refused(f"not the model that this site evaluated after round {number}")
        self._check_rounds(manifest, record)
        self._check_privacy(manifest, record, state)
        return manifest.run

    def _check_rounds(self, manifest: Manifest, record: LedgerRecord) -> None:
        """Step 3; a round that was charged may have come too late to be in the model."""
        charged = {e.round for e in record.events if (e.run, e.phase) == (manifest.run, "train")}
        for trained in manifest.trained:
            if trained.site == self.site and not (
                {trained.first, trained.last} <= charged and trained.rounds <= len(charged)
            ):
                raise _refused("not the rounds in which this site trained")

    def _check_privacy(self, manifest: Manifest, record: LedgerRecord, state: StatePrivacy) -> None:
        """Step 4."""
        stated = next((s.privacy for s in manifest.sites if s.site == self.site), None)
        if stated is None:
            raise _refused("nothing is said of this site's privacy")
        try:
            then = record.up_to(stated.ledger)
        except LedgerError as error:
            raise _refused(str(error)) from error
        if any(e.run == manifest.run for e in record.events[len(then.events) :]):
            raise _refused("this site has charged more for the run than is said")
        if state(then) != stated:
            raise _refused("not what this site states of its privacy")

    def _evaluated(self, run: RunId) -> tuple[EvaluatedModel, ...]:
        try:
            evaluated = canonical.decode(self.memory.read_bytes(), EvaluatedModels)
        except (OSError, MalformedMessageError):
            return ()  # then nothing is signed
        return evaluated.models if evaluated.run == run else ()


def _refused(detail: str) -> PolicyRefusal:
    return PolicyRefusal("cosignature-refused", detail)
