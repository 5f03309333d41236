"""Plays a hospital that fails as a scenario says: the site's own code, and what happens around it.

What a fault does is done to the real `Site`: whatever it charged, kept or logged until then stays so.
"""

# Shape letters: P parameters of the flattened model.

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

from fed_client.site import Site
from fed_common import fixedpoint, updates
from fed_common.artefacts.cosigning import is_cosign_request
from fed_common.errors import ConfigError
from fed_common.layout import layout_of, num_parameters
from fed_common.messages import (
    AnswerStatement,
    PlanStatement,
    RoundPlan,
    Step,
    StepAnswer,
    StepStatement,
    is_step,
    seal,
    unseal,
)
from fed_common.models import build_model, spec_for
from fed_common.names import SiteName, body_digest
from fed_common.plans import MAX_UPDATE_CLIP, TrainTerms
from fed_sim.attacks.poisoned_images import with_flipped_labels
from fed_sim.faults.table import FaultKind, FaultTable
from fed_sim.loopback import UnansweredError

Answerer = Callable[[bytes], bytes]

# A forged update is so much longer than any honest one; a masked one is all ones where noise should be.
_STRETCH = 1000


def answerers_of(
    sites: Mapping[SiteName, Site], faults: Sequence[FaultTable], *, masked: bool
) -> dict[SiteName, Answerer]:
    """Return what answers for each site, with its faults.

    Raises:
        ConfigError: a fault is of a site that isn't there, or can't befall it.
    """
    unknown = sorted({fault.site for fault in faults} - set(map(str, sites)))
    if unknown:
        raise ConfigError(f"faults are of {', '.join(unknown)}; the sites are {', '.join(sites)}")
    if not masked and any(fault.kind == "drop-out" for fault in faults):
        raise ConfigError("to drop out once keys are shared takes masks; without them, it is late or silent")
    return {name: _answerer(site, [f for f in faults if f.site == name]) for name, site in sites.items()}


def _answerer(site: Site, faults: Sequence[FaultTable]) -> Answerer:
    kinds = {fault.round: fault.kind for fault in faults}
    if "malicious" in kinds.values() and len(site.task.classes) != 2:
        raise ConfigError(f"labels of 2 classes can be flipped, the task has {len(site.task.classes)}")
    return FaultySite(site, kinds) if kinds else site.answer


class FaultySite:
    """Answers as the site does, except in the rounds that have a fault."""

    def __init__(self, site: Site, kinds: Mapping[int, FaultKind]) -> None:
        """Play `site`, with one kind of fault in each round of `kinds`."""
        self._site = site
        self._kinds = kinds

    def __call__(self, message: bytes) -> bytes:
        """Return the answer that reaches the coordinator.

        Raises:
            UnansweredError: none does.
        """
        if is_cosign_request(message):
            return self._site.answer(message)
        plan, step = self._opened(message)
        kind = self._kinds.get(plan.round)
        if kind == "silent":
            raise UnansweredError("offline")
        if kind is None or not isinstance(plan.terms, TrainTerms):
            return self._site.answer(message)
        return (
            self._answer_step(message, kind, step) if step else self._answer_plan(message, kind, plan.terms)
        )

    def _opened(self, message: bytes) -> tuple[RoundPlan, Step | None]:
        coordinator = self._site.identity.coordinator
        if is_step(message):
            asked, _ = unseal(message, StepStatement, coordinator)
            return asked.plan, asked.step
        return unseal(message, PlanStatement, coordinator)[0].plan, None

    def _answer_plan(self, message: bytes, kind: FaultKind, terms: TrainTerms) -> bytes:
        match kind:
            case "late":
                self._site.answer(message)
                raise UnansweredError("late")
            case "crash":
                with _dying(self._site):
                    return self._site.answer(message)
            case "corrupt":
                return _with_a_flipped_bit(self._site.answer(message))
            case "malicious":
                with _poisoned(self._site):
                    return self._site.answer(message)
            case "forged":
                return self._forged_update(self._site.answer(message), terms)
            case _:
                return self._site.answer(message)

    def _answer_step(self, message: bytes, kind: FaultKind, step: Step) -> bytes:
        if kind == "drop-out" and step not in ("advertise", "share"):
            raise UnansweredError("offline")
        answer = self._site.answer(message)
        if step == "mask" and kind == "corrupt":
            return _with_a_flipped_bit(answer)
        if step == "mask" and kind == "forged":
            statement, body = unseal(answer, StepAnswer, self._site.identity.key.verifying_key)
            forged = b"\x3f" * len(body)
            return seal(replace(statement, body=body_digest(forged)), forged, self._site.identity.key)
        return answer

    def _forged_update(self, answer: bytes, terms: TrainTerms) -> bytes:
        """Return the answer with a longer update, signed as an honest one is; with masks it has none yet."""
        statement, body = unseal(answer, AnswerStatement, self._site.identity.key.verifying_key)
        if not body:
            return answer
        size = num_parameters(layout_of(build_model(spec_for(self._site.task))))
        update_P = fixedpoint.from_fixed(updates.decode(body, terms, size=size))
        forged = updates.encode(update_P * _STRETCH, replace(terms, update_clip=MAX_UPDATE_CLIP))
        return seal(replace(statement, body=body_digest(forged)), forged, self._site.identity.key)


def _with_a_flipped_bit(message: bytes) -> bytes:
    return message[:-1] + bytes([message[-1] ^ 1])


@contextmanager
def _poisoned(site: Site) -> Iterator[None]:
    honest = site.dataset
    site.dataset = replace(honest, train=with_flipped_labels(honest.train))
    try:
        yield
    finally:
        site.dataset = honest


@contextmanager
def _dying(site: Site) -> Iterator[None]:
    """Let the site die at its first private step, which comes after its charge."""

    def die(*_: object) -> NoReturn:
        raise UnansweredError("link-error")

    living = site.make_step
    site.make_step = die
    try:
        yield
    finally:
        site.make_step = living
