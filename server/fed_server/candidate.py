"""Keeps a round's candidate on disk until its checkpoint is there: no other one could take its place.

Sites evaluate one candidate of a round only, and co-sign no other; but an aggregate is another one if a site
is away when it is made again, and a masked sum can't be had twice.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fed_common import signed_fact
from fed_common.checkpoint import SitePrivacy, parameter_bytes
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.files import write_atomically
from fed_common.names import Digest, SiteName, body_digest
from fed_common.signing import SigningKey
from fed_server.averaging import Weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """What the training of a round gave: its weights, the sites' statements, and whom it is made of."""

    weights: Weights
    sites: tuple[SitePrivacy, ...]
    included: tuple[SiteName, ...]


@dataclass(frozen=True, kw_only=True)
class CandidateFacts:
    """The signed first line of the file; `previous` is the checkpoint that the round goes on from."""

    previous: Digest
    sites: tuple[SitePrivacy, ...]
    included: tuple[SiteName, ...]
    averaged: bool
    memory: tuple[str, ...]
    body: Digest


@dataclass(frozen=True, kw_only=True)
class CandidateFile:
    """One run's candidate: a line of signed facts, model, iterate if averaged, the algorithm's memory."""

    path: Path
    key: SigningKey

    def keep(self, candidate: Candidate, *, previous: Digest) -> None:
        """Put the candidate on disk for good, in the place of an earlier one.

        Raises:
            MachineError: the disk refuses it.
        """
        weights = candidate.weights
        averaged = weights.iterate_P is not weights.model_P
        iterate = (weights.iterate_P,) if averaged else ()
        body = b"".join(map(parameter_bytes, (weights.model_P, *iterate, *weights.memory.values())))
        facts = CandidateFacts(
            previous=previous,
            sites=candidate.sites,
            included=candidate.included,
            averaged=averaged,
            memory=tuple(weights.memory),
            body=body_digest(body),
        )
        write_atomically(self.path, signed_fact.sign(facts, self.key) + b"\n" + body)

    def find(self, previous: Digest) -> Candidate | None:
        """Return the candidate of the round after the checkpoint `previous`; a damaged one is none."""
        try:
            line, _, body = self.path.read_bytes().partition(b"\n")
            facts = signed_fact.verify(line, CandidateFacts, self.key.verifying_key)
            if body_digest(body) != facts.body:
                raise TrustError("not the parameters that were written")
        except FileNotFoundError:
            return None
        except (OSError, MalformedMessageError, TrustError) as error:
            logger.warning("%s: damaged, so the round is trained again (%s)", self.path.name, error)
            return None
        if facts.previous != previous:
            return None
        num_vectors = 1 + facts.averaged + len(facts.memory)
        model_P, *others = np.split(np.frombuffer(body, "<f4").astype(np.float32), num_vectors)
        iterate_P = others.pop(0) if facts.averaged else model_P
        memory = dict(zip(facts.memory, others, strict=True))
        weights = Weights(model_P=model_P, iterate_P=iterate_P, memory=memory)
        return Candidate(weights=weights, sites=facts.sites, included=facts.included)

    def drop(self) -> None:
        """Take the candidate away, which is published."""
        with suppress(OSError):  # the next round's takes its place, and until then nobody finds it
            self.path.unlink(missing_ok=True)
