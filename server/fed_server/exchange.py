"""The only way to the sites: sealed bytes out, sealed bytes or a reason back.

The exchange is a courier. It knows neither models nor privacy; what it carries is signed and checked
on both sides by the core, so that the Flower link and the loopback of a simulation are interchangeable
(`tests/contracts/exchange_contract.py` runs against both).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from fed_common.names import Bytes, RunId, SiteName
from fed_common.plans import Phase

Silence = Literal["offline", "late", "link-error", "not-enrolled"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One sealed request for several sites; all get the same bytes, which are in `parts`."""

    run: RunId
    round: int
    phase: Phase
    sites: tuple[SiteName, ...]
    parts: tuple[Bytes, ...]
    deadline_s: float

    @cached_property
    def payload(self) -> bytes:
        """Return all parts joined, for who can't send them one by one."""
        return b"".join(self.parts)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a site sent back, still sealed."""

    site: SiteName
    payload: bytes


@dataclass(frozen=True, kw_only=True)
class NoAnswer:
    """A site that sent nothing, and why."""

    site: SiteName
    reason: Silence


class Exchange(Protocol):
    """Carries questions to the sites and their answers back."""

    def online(self) -> frozenset[SiteName]:
        """Return the enrolled sites that are connected now."""
        ...

    def ask(self, question: Question) -> Iterator[Answer | NoAnswer]:
        """Yield exactly one item per site of the question, as they come, within `deadline_s`.

        A site that reconnects before the deadline is asked again with the same bytes. When the connected
        sites have answered, those that are away are not waited for.
        """
        ...
