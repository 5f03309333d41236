"""Co-signs a finished model, but only one that agrees with what this site knows of the run itself.

Without it, whoever has the coordinator's key could pass any model off as the consortium's. What a site knows
is its ledger, and of the last runs what it was asked and what it answered. It signs if all of this holds:

1. the statement is about a finished run, for the task and the network installed here;
2. the model, its file and the greys it wants are those that this site evaluated after the last round or, if
   the manifest says that it was rolled back, after the round to which it was;
3. the number of rounds, the terms of training and the checkpoint before are those that it was told;
4. the rounds in which it is said to have trained are among those that it charged;
5. what is said of its privacy is what it stated with its last answer, and the run has cost nothing since;
6. it has signed no other statement of this run.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fed_client.policy import PolicyRefusal
from fed_client.site_log import SiteLog
from fed_common import canonical, signed_fact
from fed_common.artefacts.cosigning import CosignAnswer, open_request
from fed_common.artefacts.envelope import Signature
from fed_common.artefacts.statement import decode_statement
from fed_common.checkpoint import FIRST, Manifest, encode_model
from fed_common.errors import MalformedMessageError
from fed_common.files import write_atomically
from fed_common.ledger_record import LedgerRecord
from fed_common.messages import PrivacyStatement, Refusal, RoundPlan
from fed_common.models import spec_for
from fed_common.names import Digest, RunId, SiteName, digest_of
from fed_common.plans import EvaluationTerms, Normalisation, TrainTerms
from fed_common.signing import SigningKey, VerifyingKey
from fed_common.task import Task

logger = logging.getLogger(__name__)

# A site may be asked late, when runs have followed; a run is a few hundred bytes for each evaluation.
_KNOWN_RUNS = 8


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """A model that this site evaluated, as a manifest would name it."""

    round: int
    parameters: Digest
    file: Digest
    normalisation: Normalisation


@dataclass(frozen=True, kw_only=True)
class KnownRun:
    """What a site knows of a run: the newest plan that it answered, all models that it evaluated.

    `terms` are those of the last training, `stated` is what the last answer said, and `signed` the statement
    that was co-signed.
    """

    run: RunId
    round: int
    rounds: int
    previous: Digest
    stated: PrivacyStatement
    terms: TrainTerms | None = None
    models: tuple[EvaluatedModel, ...] = ()
    signed: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class KnownRuns:
    """The last runs that this site answered in, the newest last."""

    runs: tuple[KnownRun, ...]


@dataclass(frozen=True, kw_only=True)
class Cosigner:
    """One site's hand; `memory` is the file that holds what is known of the last runs."""

    site: SiteName
    key: SigningKey
    coordinator: VerifyingKey
    task: Task
    memory: Path
    log: SiteLog

    def remember(self, plan: RoundPlan, model_P: NDArray[np.float32], stated: PrivacyStatement) -> None:
        """Keep what a plan asks and its answer states; must come before the answer is sent.

        Raises:
            MachineError: it can't be written.
        """
        before = self._known(plan.run)
        terms, models = (before.terms, before.models) if before else (None, ())
        match plan.terms:
            case TrainTerms():
                terms = plan.terms
            case EvaluationTerms(normalisation=normalisation):
                evaluated = EvaluatedModel(
                    round=plan.round,
                    parameters=plan.parameters,
                    file=digest_of(encode_model(model_P, spec_for(self.task))),
                    normalisation=normalisation,
                )
                models = (*(model for model in models if model.round != plan.round), evaluated)
        self._keep(
            KnownRun(
                run=plan.run,
                round=plan.round,
                rounds=plan.rounds,
                previous=plan.lineage[-1] if plan.lineage else FIRST,
                stated=stated,
                terms=terms,
                models=models,
                signed=before.signed if before else None,
            )
        )

    def answer(self, message: bytes, record: LedgerRecord) -> bytes:
        """Return the signed answer to a request; `record` is what the ledger says now.

        Raises:
            TrustError: the request isn't the coordinator's, or is too old.
            MalformedMessageError: it is none.
            MachineError: that it was signed can't be written.
        """
        with self.log.tracing_strangers():
            statement = open_request(message, self.coordinator).statement.encode()
        signature, refusal = None, None
        try:
            known = self._check(statement, record)
            self._keep(replace(known, signed=digest_of(statement)))
            signature = Signature.by(self.key, statement)
            logger.info("run %s is finished: its model is co-signed", known.run)
        except PolicyRefusal as refused:
            logger.warning("the finished model is not co-signed: %s", refused)
            refusal = Refusal(code=refused.code, detail=refused.detail)
        self.log.cosigned(digest_of(statement), given=refusal is None)
        answer = CosignAnswer(
            site=self.site, statement=digest_of(statement), signature=signature, refusal=refusal
        )
        return signed_fact.sign(answer, self.key)

    def _check(self, statement: bytes, record: LedgerRecord) -> KnownRun:
        try:
            subject, manifest = decode_statement(statement, Manifest)
        except MalformedMessageError as error:
            raise _refused(str(error)) from error
        if subject != manifest.file or manifest.round != manifest.rounds:  # 1
            raise _refused("not the manifest of a finished run")
        if not manifest.is_about(self.task) or manifest.model != spec_for(self.task).fingerprint:
            raise _refused("not the task or the network that is installed here")
        known = self._check_model(manifest)
        if known.rounds != manifest.rounds:  # 3
            raise _refused(f"the run has {known.rounds} rounds")
        if known.terms not in (None, manifest.terms):
            raise _refused("not the terms with which this site trained")
        if known.round == manifest.round and known.previous != manifest.previous:
            raise _refused("doesn't follow the checkpoint that this site was told of")
        self._check_rounds(manifest, record)
        self._check_privacy(manifest, known, record)
        if known.signed not in (None, digest_of(statement)):  # 6
            raise _refused("this site has signed another statement of this run")
        return known

    def _check_model(self, manifest: Manifest) -> KnownRun:
        """Step 2."""
        number = manifest.rollback.to if manifest.rollback else manifest.round
        stands = EvaluatedModel(
            round=number,
            parameters=manifest.parameters,
            file=manifest.file,
            normalisation=manifest.terms.normalisation,
        )
        known = self._known(manifest.run)
        if known is None or stands not in known.models:
            raise _refused(f"not the model that this site evaluated after round {number}")
        return known

    def _check_rounds(self, manifest: Manifest, record: LedgerRecord) -> None:
        """Step 4; a round that was charged may have come too late to be in the model."""
        charged = {e.round for e in record.events if (e.run, e.phase) == (manifest.run, "train")}
        for trained in manifest.trained:
            if trained.site == self.site and not (
                {trained.first, trained.last} <= charged and trained.rounds <= len(charged)
            ):
                raise _refused("not the rounds in which this site trained")

    def _check_privacy(self, manifest: Manifest, known: KnownRun, record: LedgerRecord) -> None:
        """Step 5; as it was stated then, since code and delta may be others by now."""
        stated = next((s.privacy for s in manifest.sites if s.site == self.site), None)
        if stated is None:
            raise _refused("nothing is said of this site's privacy")
        if stated != known.stated:
            raise _refused("not what this site stated of its privacy with its last answer")
        if any(e.run == manifest.run and e.seq >= stated.ledger.events for e in record.events):
            raise _refused("this site has charged more for the run than is said")

    def _known(self, run: RunId) -> KnownRun | None:
        return next((known for known in self._read() if known.run == run), None)

    def _keep(self, known: KnownRun) -> None:
        others = [other for other in self._read() if other.run != known.run]
        runs = (*others, known)[-_KNOWN_RUNS:]
        write_atomically(self.memory, canonical.encode(KnownRuns(runs=runs)))

    def _read(self) -> Sequence[KnownRun]:
        try:
            return canonical.decode(self.memory.read_bytes(), KnownRuns).runs
        except (OSError, MalformedMessageError):
            return ()  # then nothing is signed


def _refused(detail: str) -> PolicyRefusal:
    return PolicyRefusal("cosignature-refused", detail)
