"""A whole run: R rounds of train, step, evaluate and publish, resumed from the last signed checkpoint.

The same code runs in `fed-server` and in the simulation; only the exchange differs.

A run begins with the checkpoint of round 0: the first parameters, and the terms of all rounds. If settings
ask for statistics, their public constants are measured before it is published, and never again.

A round goes through these steps, and a crash at any of them repeats at most this round, whose plan is then
the same to the last bit, so that sites answer with the bytes they had already made. Where it can't be, as
a member of the masks was revoked meanwhile or the disk has lost the candidate, nobody is asked twice:

1. wait until a quorum is connected;
2. ask the cohort to train, and fold their updates (`run_round`); without a quorum of answers, ask again;
3. step: the algorithm moves the weights by the rule's mean update (`algorithms`), and the model follows
   (`averaging`); what came of it is kept (`candidate`), and after a crash the round goes on from here;
4. ask the sites for noised counts of the candidate, let them vote on it, and judge it on the public test set;
5. publish the signed checkpoint; only now does the round count. The last one is co-signed by the sites.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fed_common import checkpoint as checkpoints
from fed_common.artefacts.participation import trained_after
from fed_common.checkpoint import Checkpoint, SitePrivacy, parameter_bytes
from fed_common.errors import ConfigError, QuorumError
from fed_common.messages import RoundPlan
from fed_common.metrics import EvaluationCounts
from fed_common.names import Bytes, SiteName
from fed_common.plans import StatisticsTerms
from fed_common.statistics import PatientCounts
from fed_common.test_set import TestSet
from fed_server.aggregation import AggregationRule, CountsBySite, ResultT_co
from fed_server.algorithms import MeanOfRound
from fed_server.algorithms.scaffold import sent_to_train
from fed_server.artefacts.cosigning import Cosigning
from fed_server.averaging import MeanUpdate, Weights
from fed_server.candidate import Candidate, CandidateFile
from fed_server.continuity import Continuity
from fed_server.gathering import gather
from fed_server.journal import (
    CandidateDropped,
    Observer,
    PhaseAsked,
    RoundPublished,
    RunEvent,
    RunFinished,
    RunResumed,
    RunStarted,
    SiteAnswered,
    SiteFigures,
    SumAbandoned,
)
from fed_server.lineage import Lineage
from fed_server.masking.round import run_masked_round
from fed_server.outcomes import as_event, figures_of, kept_back, latest_privacy, share_of, stated_before
from fed_server.planner import Planner
from fed_server.publication import Publisher, RoundFacts
from fed_server.robust.choice import rule_of
from fed_server.rounds import Coordinator, RoundOutcome, run_round
from fed_server.run_folder import RunFolder
from fed_server.settings import RunSettings
from fed_server.statistics import fix_constants
from fed_server.vote import Vote, count_votes

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Federation:
    """One run of one federation."""

    settings: RunSettings
    coordinator: Coordinator
    folder: RunFolder
    test_set: TestSet | None
    observer: Observer
    # What the sites stated in the run before: a ledger must contain those heads too.
    known: tuple[SitePrivacy, ...] = ()

    def __post_init__(self) -> None:
        self._publisher = Publisher(
            settings=self.settings,
            folder=self.folder,
            key=self.coordinator.key,
            test_set=self.test_set,
        )
        self._planner = Planner(
            run=self.folder.run,
            settings=self.settings,
            site_keys=self.coordinator.site_keys,
            lineage=Lineage(self.folder.checkpoints, self.coordinator.key.verifying_key),
        )
        self._candidate_file = CandidateFile(path=self.folder.candidate, key=self.coordinator.key)
        self._num_abandoned = 0  # in a row
        self._continuity = Continuity(self.coordinator.officer_keys, self.known)

    def run(self) -> Checkpoint:
        """Return the last checkpoint, after all rounds that were still to do.

        Raises:
            QuorumError: too few sites connected or answered; the model is that of the last round.
            ConfigError: the settings changed since the run began.
        """
        current, weights = self._begin_or_resume()
        if current.manifest.round < self.settings.training.rounds:
            self._gather(
                current.manifest.round + 1, all_until=time.monotonic() + self.settings.quorum.gather_s
            )
        while current.manifest.round < self.settings.training.rounds:
            current, weights = self._round(current, weights)
        Cosigning(coordinator=self.coordinator, settings=self.settings).present(self.folder, tell=self._tell)
        self._tell(RunFinished(rounds=current.manifest.round))
        return current

    def _begin_or_resume(self) -> tuple[Checkpoint, Weights]:
        self.coordinator.log.catch_up(RunFolder.all_in(self.folder.root))
        for event in self.folder.journal.read():
            if isinstance(event, SiteAnswered):
                self._continuity.remember(event.site, event.privacy)
        published = checkpoints.latest(self.folder.checkpoints)
        if published is None:
            return self._begin()
        current, weights = self._load(published)
        if current.manifest.settings != self.settings.digest:
            raise ConfigError(
                f"the settings changed since run {self.folder.run} began; restore them, or begin another run"
            )
        self._tell(RunResumed(round=current.manifest.round))
        if (untold := kept_back(current, self.folder.journal.read())) is not None:
            self._tell(untold)
        return current, weights

    def _load(self, folder: Path) -> tuple[Checkpoint, Weights]:
        loaded = checkpoints.load(folder, self.settings.model, self.coordinator.key.verifying_key)
        iterate_P = checkpoints.load_iterate(folder, loaded, self.settings.model)
        memory = checkpoints.load_memory(folder, loaded)
        return loaded, Weights(model_P=loaded.parameters_P, iterate_P=iterate_P, memory=memory)

    def _begin(self) -> tuple[Checkpoint, Weights]:
        settings = self.settings
        terms = settings.train_terms()
        started = RunStarted(
            run=self.folder.run,
            name=settings.name,
            settings=settings.digest,
            task=settings.task,
            model=settings.model.fingerprint,
            sites=tuple(site.name for site in settings.cohort),
            rounds=settings.training.rounds,
            quorum=settings.quorum_in_force.sites,
            terms=terms,
            epsilon=settings.privacy.epsilon,
            delta=settings.privacy.delta,
            masked=settings.masked,
            alone=settings.claim_alone(),
            algorithm=settings.algorithm.name,
            personal=settings.personal.method if settings.personal else "",
        )
        begun = self._publisher.beginning
        first_P = begun.parameters_P
        self._tell(started)
        known = self.known
        if (asked := settings.statistics_terms()) is not None:
            outcome = self._ask_statistics(asked, first_P)
            terms, gathered = fix_constants(
                terms,
                outcome.result,
                several_labels=asked.several_labels,
                quorum=settings.quorum.sites,
            )
            self._tell(gathered)
            known = latest_privacy(known, outcome)
        weights = Weights.first(first_P)
        facts = RoundFacts(sites=known, trained=())
        first = self._publisher.publish(0, weights, terms, facts=facts, previous=begun.previous)
        return first, weights

    def _ask_statistics(
        self, terms: StatisticsTerms, first_P: NDArray[np.float32]
    ) -> RoundOutcome[Mapping[SiteName, PatientCounts]]:
        self._gather(0, all_until=time.monotonic() + self.settings.quorum.gather_s)
        rule = CountsBySite(
            lambda values, noise: PatientCounts.from_vector(values, replace(terms, noise_multiplier=noise))
        )
        parameters = parameter_bytes(first_P)
        return self._ask(self._planner.plan(0, self.known, terms, parameters), parameters, rule, attempt=1)

    def _round(self, current: Checkpoint, weights: Weights) -> tuple[Checkpoint, Weights]:
        began = time.monotonic()
        number = current.manifest.round + 1
        candidate = self._candidate(number, current, weights)
        weights, privacy = candidate.weights, candidate.sites
        figures: tuple[SiteFigures, ...] = ()
        vote = Vote(standing=current.manifest.standing)
        if self.settings.proposal.evaluates_after(number):
            evaluated = self._evaluate(number, current, weights.model_P)
            privacy = latest_privacy(privacy, evaluated)
            figures = figures_of(evaluated.result or {})
            if self.settings.aggregation.vote:
                vote = count_votes(number, vote.standing, figures, self.settings.cohort)
        trained = trained_after(number, candidate.included, current.manifest.trained)
        if vote.rollback is not None:
            stood, weights = self._load(self.folder.checkpoint(vote.rollback.to))
            trained = stood.manifest.trained
            self._tell(CandidateDropped(round=number, rollback=vote.rollback, federated=figures))
            figures = ()  # which were the candidate's
        facts = RoundFacts(sites=privacy, trained=trained, vote=vote)
        published = self._publisher.publish(
            number, weights, current.manifest.terms, facts=facts, previous=current.digest
        )
        self._candidate_file.drop()
        self._tell(
            RoundPublished(
                round=number,
                seconds=time.monotonic() - began,
                sites=candidate.included,
                test=published.manifest.test,
                federated=figures,
                checkpoint=published.digest,
            )
        )
        return published, weights

    def _candidate(self, number: int, current: Checkpoint, weights: Weights) -> Candidate:
        """Return what steps 2 and 3 gave, now or before a crash."""
        if (kept := self._candidate_file.find(current.digest)) is not None:
            return replace(kept, sites=stated_before(kept.sites, self.folder.journal.read(), number=number))
        outcome = self._train(number, current, weights)
        if outcome.result is not None:
            averaging = self.settings.training.averaging
            mean = MeanOfRound(
                values_P=outcome.result,
                share=share_of(outcome.included, self.settings.cohort),
                path=current.manifest.terms.path,
            )
            step_P, memory = self.settings.algorithm.step(mean, weights.memory)
            weights = replace(weights.moved(step_P, number=number, averaging=averaging), memory=memory)
        privacy = latest_privacy(current.manifest.sites, outcome)
        candidate = Candidate(weights=weights, sites=privacy, included=outcome.included)
        self._candidate_file.keep(candidate, previous=current.digest)
        return candidate

    def _train(self, number: int, current: Checkpoint, weights: Weights) -> RoundOutcome[MeanUpdate]:
        """Ask until a quorum answered; the plan stays the same, so nobody spends twice.

        Only a masked round that broke too late to be asked again has no result.
        """
        manifest = current.manifest
        parameters = sent_to_train(weights, manifest.terms)
        plan = self._planner.plan(
            number, manifest.sites, manifest.terms, parameters, trained=manifest.trained
        )
        for attempt in range(1, self.settings.quorum.retries + 2):
            self._gather(number)
            outcome = self._ask_updates(plan, parameters, attempt=attempt)
            if outcome.result is not None:
                self._num_abandoned = 0
                return outcome
            if outcome.abandoned and self._num_abandoned < self.settings.quorum.retries:
                self._num_abandoned += 1
                self._tell(SumAbandoned(round=number, reason=outcome.abandoned))
                return outcome
        reasons = ", ".join(f"{failure.site}: {failure.code}" for failure in outcome.failures)
        raise QuorumError(
            f"round {number}: {len(outcome.answered)} of {self.settings.quorum_in_force.sites} needed sites "
            f"answered ({reasons}); the model of round {number - 1} stands"
        )

    def _evaluate(
        self, number: int, current: Checkpoint, candidate_P: NDArray[np.float32]
    ) -> RoundOutcome[Mapping[SiteName, EvaluationCounts]]:
        terms = self.settings.evaluation_terms(number, current.manifest.terms)
        parameters = parameter_bytes(candidate_P)
        plan = self._planner.plan(number, current.manifest.sites, terms, parameters)
        if self.coordinator.log.asked_otherwise(plan):
            logger.warning("round %d: the candidate that the sites measured is lost; this one isn't", number)
            return RoundOutcome(result=None, answered={}, included=(), failures=())
        rule = CountsBySite(lambda values, noise: EvaluationCounts.from_vector(values, noise_std=noise))
        return self._ask(plan, parameters, rule, attempt=1)

    def _ask_updates(self, plan: RoundPlan, parameters: Bytes, *, attempt: int) -> RoundOutcome[MeanUpdate]:
        if plan.masking is None:
            rule = rule_of(self.settings.aggregation, len(parameters) // (4 * plan.num_vectors))
            return self._ask(plan, parameters, rule, attempt=attempt)
        if self.coordinator.log.asked_otherwise(plan):
            left = "the members of its masks are others than when it was asked first"
            return RoundOutcome(result=None, answered={}, included=(), failures=(), abandoned=left)
        self._tell(PhaseAsked(round=plan.round, phase=plan.phase, attempt=attempt))
        return run_masked_round(
            plan,
            parameters,
            coordinator=self.coordinator,
            check=self._continuity.check,
            on_reply=lambda reply: self._tell(as_event(plan, reply)),
        )

    def _ask(
        self,
        plan: RoundPlan,
        parameters: Bytes,
        rule: AggregationRule[ResultT_co],
        *,
        attempt: int,
    ) -> RoundOutcome[ResultT_co]:
        self._tell(PhaseAsked(round=plan.round, phase=plan.phase, attempt=attempt))
        return run_round(
            plan,
            parameters,
            rule,
            coordinator=self.coordinator,
            check=self._continuity.check,
            on_reply=lambda reply: self._tell(as_event(plan, reply)),
        )

    def _gather(self, number: int, *, all_until: float = 0.0) -> None:
        gather(
            number,
            self.coordinator.exchange,
            cohort=frozenset(site.name for site in self.settings.cohort),
            quorum=self.settings.quorum_in_force,
            all_until=all_until,
            tell=self._tell,
        )

    def _tell(self, event: RunEvent) -> None:
        self.coordinator.log.journalled(self.folder.run, self.folder.journal.write(event))
        self.observer(event)
