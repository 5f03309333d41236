"""Leads a site through the steps of a masked round, and sees to it that an update is masked only once.

The difference of two sums over n and n - 1 sites is the update of one. So a site's update is put on disk
after training, and taken from there for good before it is masked: whatever becomes of the round then, the
site never masks for it again. Until then nothing has been told about the update, and a session that broke
may be followed by another, with new keys.
"""

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fed_client.answers import AnswerStore
from fed_client.masking.party import Advertised, Confirmed, Dealt, Masked, Party
from fed_client.policy import PolicyRefusal
from fed_common import canonical, fixedpoint
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.messages import Refusal, RefusalCode, RoundPlan, StepAnswer, StepStatement, seal
from fed_common.names import Bytes, Digest, SiteName, body_digest
from fed_common.signing import SigningKey

logger = logging.getLogger(__name__)

_State = Party | Advertised | Dealt | Masked | Confirmed


class MaskedSessions:
    """One site's masked rounds; only the newest session is alive, and it doesn't outlive the process."""

    def __init__(
        self,
        site: SiteName,
        key: SigningKey,
        *,
        minimum: int,
        updates: AnswerStore,
        refused: Callable[[RoundPlan, RefusalCode], None],
    ) -> None:
        """Begin without a session; `refused` is told of every step that isn't answered."""
        self._site = site
        self._key = key
        self._minimum = minimum
        self._updates = updates
        self._refused = refused
        self._state: _State | None = None
        self._session: tuple[Digest, str] | None = None
        # A question that comes again, because the line broke, gets the same bytes again.
        self._last: tuple[Digest, bytes] | None = None

    def keep(self, plan: RoundPlan, fixed_P: NDArray[np.int64]) -> None:
        """Put an update on disk, to be masked once.

        Raises:
            MachineError: it can't be written.
        """
        self._updates.keep(plan.run, plan.round, plan.phase, fixedpoint.to_bytes(fixed_P))

    def answer(self, statement: StepStatement, body: Bytes, *, trained: Callable[[RoundPlan], bool]) -> bytes:
        """Return the sealed answer to a step; `trained` tells whether this site has an update for a plan.

        It is a refusal where the step isn't the next one of this session, its body isn't what it should
        be, or the update was masked before.

        Raises:
            MachineError: the update can't be taken from disk; nothing was told about it.
        """
        told, refusal = b"", None
        try:
            if not trained(statement.plan):
                raise PolicyRefusal("masking-refused", "this site has no update for that plan")
            told = self._tell(statement, bytes(body))
        except PolicyRefusal as refused:
            logger.warning("round %d, %s: %s", statement.plan.round, statement.step, refused)
            self._refused(statement.plan, refused.code)
            refusal = Refusal(code=refused.code, detail=refused.detail)
        answer = StepAnswer(
            site=self._site,
            plan=statement.plan.digest,
            session=statement.session,
            step=statement.step,
            body=body_digest(told),
            refusal=refusal,
        )
        return seal(answer, told, self._key)

    def _tell(self, statement: StepStatement, body: bytes) -> bytes:
        question = canonical.digest(statement)
        if self._last is not None and self._last[0] == question:
            return self._last[1]
        session = (statement.plan.digest, statement.session)
        if statement.step == "advertise" and session != self._session:
            self._begin(statement)
        if session != self._session:
            raise PolicyRefusal("masking-refused", "no such session is alive here: nothing is resumed")
        try:
            told = self._take_step(statement, body)
        except (TrustError, MalformedMessageError) as error:
            raise PolicyRefusal("masking-refused", str(error)) from error
        self._last = (question, told)
        logger.debug("round %d: masked sum, step %s done", statement.plan.round, statement.step)
        return told

    def _begin(self, statement: StepStatement) -> None:
        plan = statement.plan
        if plan.masking is None:
            raise PolicyRefusal("masking-refused", "the plan asks for no masks")
        self._refuse_masked(plan)
        self._session = (plan.digest, statement.session)
        self._state = Party(
            site=self._site,
            key=self._key,
            plan=plan,
            masking=plan.masking,
            session=statement.session,
            minimum=self._minimum,
        )

    def _take_step(self, statement: StepStatement, body: bytes) -> bytes:
        """Return what is told, and go on to the next state; the one before is forgotten."""
        match statement.step, self._state:
            case "advertise", Party() as state:
                told, self._state = state.advertise()
            case "share", Advertised() as state:
                told, self._state = state.share(body)
            case "mask", Dealt() as state:
                told, self._state = state.mask(body, lambda: self._take_update(statement.plan))
            case "confirm", Masked() as state:
                told, self._state = state.confirm(body)
            case "unmask", Confirmed() as state:
                told, self._state = state.unmask(body), None
            case step, _:
                raise TrustError(f"{step} isn't what comes next in this session")
        return told

    def _take_update(self, plan: RoundPlan) -> NDArray[np.int64]:
        raw = self._refuse_masked(plan)
        # Before anything is masked: a crash from here on loses the update, and can't mask it twice.
        self._updates.keep(plan.run, plan.round, plan.phase, b"")
        return np.frombuffer(raw, dtype="<i8").astype(np.int64)

    def _refuse_masked(self, plan: RoundPlan) -> bytes:
        raw = self._updates.find(plan.run, plan.round, plan.phase)
        if not raw:
            raise PolicyRefusal("round-masked-already", f"the update of round {plan.round} was masked before")
        return raw
