"""What a run of virtual sites goes on from: weights and round in one file, replaced as a whole.

No state of chance is in it: each draw is a pure function of seed, round and site. Privacy's draws can't be
repeated, and needn't be: a round is in the weights or it isn't.
"""

# Shape letters: P parameters of the flattened model.

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from fed_common import canonical
from fed_common.checkpoint import parameter_bytes
from fed_common.errors import ConfigError, DataError, MalformedMessageError
from fed_common.files import write_atomically
from fed_common.names import Digest, RunId, body_digest
from fed_common.scoring import TestFigures
from fed_server.averaging import Weights


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How good the model of a round was on the public test images."""

    round: int
    figures: TestFigures


@dataclass(frozen=True, kw_only=True)
class _Facts:
    run: RunId
    scenario: Digest
    round: int
    judged: tuple[Judged, ...]
    averaged: bool
    body: Digest


@dataclass(frozen=True, kw_only=True, eq=False)
class RunState:
    """Where a run stands after `round` rounds."""

    run: RunId
    scenario: Digest
    round: int
    weights: Weights
    judged: tuple[Judged, ...] = ()

    def keep(self, path: Path) -> None:
        """Put the state on disk for good, in the place of the one before.

        Raises:
            MachineError: the disk refuses it.
        """
        averaged = self.weights.iterate_P is not self.weights.model_P
        iterate = (self.weights.iterate_P,) if averaged else ()
        body = b"".join(map(parameter_bytes, (self.weights.model_P, *iterate)))
        facts = _Facts(
            run=self.run,
            scenario=self.scenario,
            round=self.round,
            judged=self.judged,
            averaged=averaged,
            body=body_digest(body),
        )
        write_atomically(path, canonical.encode(facts) + b"\n" + body)

    @classmethod
    def find(cls, path: Path, *, scenario: Digest) -> Self | None:
        """Return the state in `path`, None where a run hasn't begun.

        Raises:
            ConfigError: it is that of another scenario.
            DataError: the file is damaged.
        """
        try:
            line, _, body = path.read_bytes().partition(b"\n")
            facts = canonical.decode(line, _Facts)
        except FileNotFoundError:
            return None
        except (OSError, MalformedMessageError) as error:
            raise DataError(f"{path}: not the state of a run") from error
        if body_digest(body) != facts.body:
            raise DataError(f"{path}: damaged, the weights aren't those that were written")
        if facts.scenario != scenario:
            raise ConfigError(
                f"{path}: the scenario changed since run {facts.run} began; choose another folder"
            )
        parameters = np.frombuffer(body, "<f4").astype(np.float32)
        weights = Weights.first(parameters)
        if facts.averaged:
            model_P, iterate_P = np.split(parameters, 2)
            weights = Weights(model_P=model_P, iterate_P=iterate_P)
        return cls(
            run=facts.run, scenario=facts.scenario, round=facts.round, weights=weights, judged=facts.judged
        )
