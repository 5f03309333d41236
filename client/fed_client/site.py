"""The hospital's side of one round: everything between a sealed plan coming in and a sealed answer going out.

An answer is made in this order, and each step may end it with a refusal that names its code:

1. unseal: the coordinator's signature, the plan's form and age;
2. remember: only forwards (`fed_client.plan_memory`); what was answered before gets the same bytes again;
3. policy: the hospital's own limits, with stricter terms where it would rather tighten than refuse, the
   task and the model it installed;
4. witness: the ledger must contain the head that the coordinator signed;
5. charge: the budget is checked and the ledger written before the data are touched;
6. work: train, evaluate or count, with patient-level noise;
7. close up: clip the whole update, encode, seal, put on disk; only then is it sent.

Where the plan asks for masks, step 7 keeps the update here and says only that it is ready; the steps that
follow are those of `fed_client.masking.party`.

A crash after step 5 leaves a charge without an answer; that round is refused afterwards, never trained again.
What was accepted, refused and answered is in the audit log, whose head goes out with every answer.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fed_client.algorithms.correction import Correction
from fed_client.algorithms.kept_vectors import KeptVectors
from fed_client.algorithms.scaffold import ControlStore
from fed_client.answers import AnswerStore
from fed_client.cosigning import Cosigner
from fed_client.countersignature import Countersignature
from fed_client.dataset import SiteDataset
from fed_client.evaluation import release_counts
from fed_client.masking.admission import minimum_sum, refuse_masking
from fed_client.masking.sessions import MaskedSessions
from fed_client.personal.rounds import Weights
from fed_client.personal.store import PersonalStore
from fed_client.plan_memory import PlanMemory
from fed_client.policy import Admission, PolicyRefusal, SitePolicy
from fed_client.privacy_statement import state_privacy
from fed_client.private_step import MakeStep, private_step
from fed_client.received_model import received_vectors
from fed_client.site_log import SiteLog
from fed_client.statistics import release_statistics
from fed_client.training import clip_update, train_privately
from fed_common import fixedpoint, updates
from fed_common.accounting import Accountant, Spend
from fed_common.artefacts.cosigning import is_cosign_request
from fed_common.layout import layout_of, load_flat, num_parameters
from fed_common.ledger import PrivacyLedger
from fed_common.messages import (
    AnswerStatement,
    PlanStatement,
    PrivacyStatement,
    Refusal,
    RoundPlan,
    StepStatement,
    is_step,
    seal,
    unseal,
)
from fed_common.models import build_model, spec_for
from fed_common.names import Bytes, Digest, SiteName, body_digest
from fed_common.plans import EvaluationTerms, SiteTerms, StatisticsTerms, Terms, TrainTerms
from fed_common.randomness import Randomness
from fed_common.signing import SigningKey, VerifyingKey
from fed_common.task import Task
from fed_common.tightening import Tightened

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SiteIdentity:
    """Who this site is, and whose plans it follows."""

    name: SiteName
    key: SigningKey
    coordinator: VerifyingKey


@dataclass(kw_only=True)
class Site:
    """One hospital, answering one plan at a time."""

    identity: SiteIdentity
    task: Task
    dataset: SiteDataset
    policy: SitePolicy
    ledger: PrivacyLedger
    answers: AnswerStore
    countersignature: Countersignature
    plans: PlanMemory
    log: SiteLog
    accountants: Sequence[Accountant]
    randomness: Randomness
    make_step: MakeStep = private_step
    noise_threads: int = 1

    def __post_init__(self) -> None:
        self._model_spec = spec_for(self.task)
        self._model = build_model(self._model_spec)
        self._num_parameters = num_parameters(layout_of(self._model))
        self._masked = MaskedSessions(
            self.identity.name,
            self.identity.key,
            minimum=minimum_sum(self.policy),
            updates=AnswerStore(self.answers.folder / "unmasked"),
            refused=self.log.refused,
        )
        self._controls = ControlStore(
            site=self.identity.name, kept=KeptVectors(self.answers.folder / "controls")
        )
        self._personal = PersonalStore(self.answers.folder / "personal")
        self._cosigner = Cosigner(
            site=self.identity.name,
            key=self.identity.key,
            coordinator=self.identity.coordinator,
            task=self.task,
            memory=self.answers.folder / "known_runs.json",
            log=self.log,
        )
        self._stopping = threading.Event()
        self._one_at_a_time = threading.Lock()

    def stop(self) -> None:
        """Make a training in progress end at its next step; its charge stays."""
        self._stopping.set()

    def answer(self, message: bytes) -> bytes:
        """Return the sealed answer to a sealed plan, or to a request to co-sign the finished model.

        Raises:
            TrustError: the plan isn't the coordinator's, or is too old.
            MalformedMessageError: it is no plan.
            MachineError: ledger or answer can't be written; nothing was released.
            TrainingStoppedError: the daemon is stopping.
        """
        if is_step(message):
            return self._answer_step(message)
        if is_cosign_request(message):
            with self._one_at_a_time:
                return self._cosigner.answer(message, self.ledger.record)
        statement, parameters = self.log.unsealed(message, PlanStatement, self.identity.coordinator)
        plan = statement.plan
        with self._one_at_a_time:
            # First of all: whatever becomes of the plan, this ledger has been seen so far.
            self.countersignature.keep(statement, message)
            try:
                own = self._own_terms(plan)
                self.plans.accept(plan)
                self.log.accepted(statement)
                if (given := self._remembered(plan)) is not None:
                    logger.info("round %d %s: asked again, the same bytes are sent", plan.round, plan.phase)
                    answer, given_message = given
                    head = answer.privacy.ledger.digest
                    self.log.answered(plan, body=answer.body, ledger=head, again=True)
                    return given_message
                with self.log.tracing_strangers():
                    return self._work(statement, own, parameters)
            except PolicyRefusal as refusal:
                logger.warning("round %d %s: %s", plan.round, plan.phase, refusal)
                self.log.refused(plan, refusal.code)
                refused = Refusal(code=refusal.code, detail=refusal.detail)
                return self._seal(plan, b"", body_digest(b""), self.privacy(), refusal=refused)

    def _answer_step(self, message: bytes) -> bytes:
        """Return the sealed answer to a step of a masked round, of a plan that this site has trained for."""
        statement, body = self.log.unsealed(message, StepStatement, self.identity.coordinator)
        with self._one_at_a_time:
            return self._masked.answer(statement, body, trained=self._trained)

    def _trained(self, plan: RoundPlan) -> bool:
        self.plans.refuse_old(plan)
        return self._remembered(plan) is not None

    def _own_terms(self, plan: RoundPlan) -> SiteTerms:
        """Return this site's constants in a plan that is for it, and about its task."""
        own = plan.site(self.identity.name)
        if own is None:
            raise PolicyRefusal("not-in-cohort", f"{self.identity.name} is not in the plan's cohort")
        if plan.task != self.task.digest or not self._fits_task(plan.terms):
            raise PolicyRefusal("task-differs", "classes or recipe are not those of this site's task file")
        return own

    def _remembered(self, plan: RoundPlan) -> tuple[AnswerStatement, bytes] | None:
        """Return the answer already given to this very plan, and its bytes."""
        message = self.answers.find(plan.run, plan.round, plan.phase)
        if message is None:
            return None
        statement, _ = unseal(message, AnswerStatement, self.identity.key.verifying_key)
        if statement.plan != plan.digest:
            raise PolicyRefusal("round-asked-differently", f"round {plan.round} was answered to another plan")
        return statement, message

    def _work(self, statement: PlanStatement, own: SiteTerms, parameters: Bytes) -> bytes:
        plan = statement.plan
        admission = self._admit(plan, own)
        vector_P, *beside = received_vectors(statement, parameters, num_parameters=self._num_parameters)
        controls = self._controls.begin(plan, beside)
        personal = self._personal.begin(plan, self._model, size=self._num_parameters)
        self._charge(plan, admission.spends)
        train = partial(self._train, patients_public=own.patients)
        load_flat(self._model, vector_P)
        match admission.terms:
            case TrainTerms() as terms:
                trained = personal.train(vector_P, terms, train, controls.correction if controls else None)
                if trained.own_P is not None:
                    self._personal.keep(plan, trained.own_P)
                values = clip_update(trained.shared_P, terms.update_clip)
            case EvaluationTerms() as terms:
                measured_P = personal.measured(vector_P)
                if terms.fine_tuning is not None:
                    measured_P = measured_P + train(measured_P, terms.fine_tuning, None)
                if terms.fine_tuning is not None or terms.personal is not None:
                    self._personal.publish(plan, measured_P, self._model_spec)
                load_flat(self._model, measured_P)
                counts = release_counts(
                    self._model,
                    self.dataset.validation,
                    terms,
                    positive=self.task.positive_index,
                    randomness=self.randomness,
                )
                values = counts.to_vector()
            case StatisticsTerms() as terms:
                values = release_statistics(
                    self.dataset.train,
                    terms,
                    positive=self.task.positive_index,
                    randomness=self.randomness,
                )
        if plan.masking is None:
            body = updates.encode(values, admission.terms)
            if controls is not None:
                sent_P = updates.decode(body, admission.terms, size=values.size)
                self._controls.keep(plan, controls, fixedpoint.from_fixed(sent_P))
        else:
            scale = plan.masking.ring.scale
            fixed = fixedpoint.to_fixed(values, scale=scale)
            if controls is not None:
                self._controls.keep(plan, controls, fixedpoint.from_fixed(fixed, scale=scale))
            self._masked.keep(plan, fixed)
            body = b""
        privacy = self.privacy()
        self._cosigner.remember(plan, vector_P, privacy)
        digest = body_digest(body)
        message = self._seal(plan, body, digest, privacy, tightened=admission.tightened)
        self.answers.keep(plan.run, plan.round, plan.phase, message)
        self.log.answered(plan, body=digest, ledger=self.ledger.head.digest)
        logger.info("round %d of %d %s: answered", plan.round, plan.rounds, plan.phase)
        return message

    def _admit(self, plan: RoundPlan, own: SiteTerms) -> Admission:
        """Return what this site will do, if policy, order and witness allow it."""
        admission = self.policy.admit(plan, patients=own.patients)
        refuse_masking(plan, self.policy, site=self.identity.name, key=self.identity.key.verifying_key)
        if plan.model != self._model_spec.fingerprint:
            raise PolicyRefusal("model-not-allowed", f"{plan.model} is not the installed model")
        if self.ledger.charged(plan.run, plan.round, plan.phase):
            raise PolicyRefusal(
                "round-charged-without-answer",
                f"round {plan.round} was charged, and its answer lost in a crash",
            )
        latest = max((e.round for e in self.ledger.events if e.run == plan.run), default=0)
        if plan.round < latest:
            raise PolicyRefusal("stale-round", f"round {plan.round} is over, {latest} was answered")
        for witnessed in plan.witnessed:
            if witnessed.site == self.identity.name and not self.ledger.contains(witnessed.head):
                raise PolicyRefusal(
                    "ledger-behind-coordinator",
                    f"the coordinator has seen {witnessed.head.events} ledger events that are not here",
                )
        return admission

    def _fits_task(self, terms: Terms) -> bool:
        """Tell whether the terms are about as many classes, and as many at once, as the task has."""
        num_classes = len(self.task.classes)
        match terms:
            case TrainTerms(class_weights=weights):
                return len(weights) in (0, num_classes)
            case EvaluationTerms(fine_tuning=fine_tuning):
                return fine_tuning is None or len(fine_tuning.class_weights) in (0, num_classes)
            case StatisticsTerms(classes=classes, several_labels=several_labels):
                return (classes, several_labels) == (num_classes, self.task.multi_label)

    def _charge(self, plan: RoundPlan, spends: Sequence[Spend]) -> None:
        self.policy.check_budget(self.ledger.spends, spends, self.accountants, unit=self.ledger.unit)
        for spend in spends:
            self.ledger.charge(plan.run, plan.round, plan.phase, spend)

    def _train(
        self, weights_P: Weights, terms: TrainTerms, correction: Correction | None, *, patients_public: int
    ) -> NDArray[np.float64]:
        load_flat(self._model, weights_P)
        return train_privately(
            self._model,
            self.dataset.train,
            terms,
            patients_public=patients_public,
            randomness=self.randomness,
            stop=self._stopping.is_set,
            make_step=self.make_step,
            noise_threads=self.noise_threads,
            correction=correction,
        )

    def _seal(
        self,
        plan: RoundPlan,
        body: Bytes,
        digest: Digest,
        privacy: PrivacyStatement,
        *,
        refusal: Refusal | None = None,
        tightened: Tightened | None = None,
    ) -> bytes:
        statement = AnswerStatement(
            site=self.identity.name,
            run=plan.run,
            round=plan.round,
            phase=plan.phase,
            plan=plan.digest,
            body=digest,
            refusal=refusal,
            tightened=tightened,
            privacy=privacy,
            log=self.log.head,
        )
        return seal(statement, body, self.identity.key)

    def privacy(self) -> PrivacyStatement:
        """Return what this site's patients have given away up to now, over all runs."""
        return state_privacy(self.ledger.record, self.policy, self.accountants)
