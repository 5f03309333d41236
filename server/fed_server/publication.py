"""Turns a candidate into a published model: judged on public images, described, signed and put on disk."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fed_common import checkpoint as checkpoints
from fed_common.artefacts.participation import SiteRounds
from fed_common.checkpoint import Checkpoint, Manifest, MemoryFacts, SitePrivacy, parameter_bytes
from fed_common.layout import load_flat
from fed_common.models import build_model
from fed_common.names import Digest, body_digest, digest_of
from fed_common.plans import Normalisation, TrainTerms
from fed_common.scoring import TestFigures, judge
from fed_common.signing import SigningKey
from fed_common.test_set import TestSet
from fed_server.averaging import Weights
from fed_server.beginning import Beginning
from fed_server.run_folder import RunFolder
from fed_server.settings import RunSettings
from fed_server.vote import NO_VOTE, Vote


@dataclass(frozen=True, kw_only=True)
class RoundFacts:
    """What the sites did in a round: their statements, whom the model is made of, and their vote on it."""

    sites: tuple[SitePrivacy, ...]
    trained: tuple[SiteRounds, ...]
    vote: Vote = NO_VOTE


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Publishes the checkpoints of one run."""

    settings: RunSettings
    folder: RunFolder
    key: SigningKey
    test_set: TestSet | None

    @cached_property
    def beginning(self) -> Beginning:
        """Return what the run begins with; see `Beginning.of` for what it raises."""
        return Beginning.of(self.folder, self.settings, self.key.verifying_key)

    def publish(
        self,
        number: int,
        weights: Weights,
        terms: TrainTerms,
        *,
        facts: RoundFacts,
        previous: Digest,
    ) -> Checkpoint:
        """Return the checkpoint of round `number`, after it is on disk for good.

        Raises:
            MachineError: it can't be written; what was published before is untouched.
        """
        settings, task = self.settings, self.settings.task
        parameters_P = weights.model_P
        model = checkpoints.encode_model(parameters_P, settings.model)
        iterate = (
            checkpoints.encode_model(weights.iterate_P, settings.model)
            if settings.training.averaging != "none"
            else None
        )
        memory = checkpoints.encode_memory(weights.memory)
        manifest = Manifest(
            run=self.folder.run,
            round=number,
            rounds=settings.training.rounds,
            settings=settings.digest,
            task=task.digest,
            classes=task.classes,
            positive=task.positive,
            multi_label=task.multi_label,
            model=settings.model.fingerprint,
            parameters=body_digest(parameter_bytes(parameters_P)),
            file=digest_of(model),
            iterate=digest_of(iterate) if iterate is not None else None,
            memory=(
                MemoryFacts(names=tuple(sorted(weights.memory)), file=digest_of(memory))
                if memory is not None
                else None
            ),
            standing=facts.vote.standing,
            rollback=facts.vote.rollback,
            terms=terms,
            sites=facts.sites,
            trained=facts.trained,
            begun_from=self.beginning.point,
            test=self._judge(parameters_P, terms.normalisation),
            previous=previous,
        )
        published = Checkpoint(manifest=manifest, parameters_P=parameters_P)
        beside = {checkpoints.ITERATE_FILE: iterate, checkpoints.MEMORY_FILE: memory}
        checkpoints.publish(self.folder.checkpoints, published, model, self.key, beside=beside)
        return published

    def _judge(self, parameters_P: NDArray[np.float32], normalisation: Normalisation) -> TestFigures | None:
        if self.test_set is None:
            return None
        model = build_model(self.settings.model)
        load_flat(model, parameters_P)
        positive = self.settings.task.positive_index
        return judge(model, self.test_set, positive=positive, normalisation=normalisation)
