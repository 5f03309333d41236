"""Sites that train nothing and mask a fixed update, and ways to lose them in the middle of a round."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.fakes import COORDINATOR_SIGNS, answer_to
from tests.masked_sessions import key_of

from fed_client.answers import AnswerStore
from fed_client.masking.sessions import MaskedSessions
from fed_common import fixedpoint
from fed_common.messages import PlanStatement, RoundPlan, Step, StepStatement, is_step, unseal
from fed_common.names import SiteName
from fed_common.signing import SigningKey


class SiteGoneError(Exception):
    """The line is dead."""


@dataclass
class MaskingSite:
    """Masks `update_P` as a real site does, unless it sends it `plainly`; at step `gone_at` it is silent."""

    name: SiteName
    update_P: NDArray[np.float64]
    folder: Path
    key: SigningKey | None = None
    gone_at: Step | None = None
    plainly: bool = False
    tamper: Callable[[Step, bytes], bytes] = lambda step, message: message
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._key = self.key or key_of(self.name)
        self.restart()

    def restart(self) -> None:
        """Forget all that isn't on disk."""
        self._sessions = MaskedSessions(
            self.name,
            self._key,
            minimum=3,
            updates=AnswerStore(self.folder / self.name),
            refused=lambda _plan, _code: None,
        )

    def __call__(self, payload: bytes) -> bytes:
        if not is_step(payload):
            return self._train(unseal(payload, PlanStatement, COORDINATOR_SIGNS)[0].plan)
        statement, body = unseal(payload, StepStatement, COORDINATOR_SIGNS)
        self.steps.append(statement.step)
        if statement.step == self.gone_at:
            raise SiteGoneError
        return self.tamper(statement.step, self._sessions.answer(statement, body, trained=lambda _: True))

    def _train(self, plan: RoundPlan) -> bytes:
        assert plan.masking is not None
        if AnswerStore(self.folder / self.name).find(plan.run, plan.round, "train") is None:
            self._sessions.keep(plan, fixedpoint.to_fixed(self.update_P, scale=plan.masking.ring.scale))
        sent_P = self.update_P if self.plainly else np.zeros(0)
        return answer_to(plan, sent_P, site=self.name, key=self._key)
