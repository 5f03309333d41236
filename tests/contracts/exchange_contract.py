"""What every `Exchange` promises; a test module subclasses `ExchangeContract` with its own `federation`."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import get_args

import pytest

from fed_common.names import RunId, SiteName
from fed_common.plans import Phase
from fed_server.exchange import Answer, Exchange, NoAnswer, Question

Answerer = Callable[[bytes], bytes]
# Opens an exchange whose sites, all of them online, answer with the given functions.
Federation = Callable[[Mapping[SiteName, Answerer]], AbstractContextManager[Exchange]]

NORTH, EAST, SOUTH = SiteName("north"), SiteName("east"), SiteName("south")
SITES = (NORTH, EAST, SOUTH)
AMPLE_S = 30.0


def question(payload: bytes, *, sites: tuple[SiteName, ...] = SITES, deadline_s: float = AMPLE_S) -> Question:
    return Question(
        run=RunId("contract"), round=1, phase="train", sites=sites, parts=(payload,), deadline_s=deadline_s
    )


def by_site(replies: Iterable[Answer | NoAnswer]) -> dict[SiteName, bytes | str]:
    """Return each site's payload or reason; a site that came twice fails the test."""
    items = list(replies)
    assert len({item.site for item in items}) == len(items), items
    return {item.site: item.payload if isinstance(item, Answer) else item.reason for item in items}


def reverse(payload: bytes) -> bytes:
    return payload[::-1]


def fail(payload: bytes) -> bytes:
    raise RuntimeError("the patient's name")


class SilentUntilReleased:
    """Answers only after `release`, which a test must call before it leaves the federation."""

    def __init__(self) -> None:
        self._released = threading.Event()

    def __call__(self, payload: bytes) -> bytes:
        self._released.wait(AMPLE_S)
        return reverse(payload)

    def release(self) -> None:
        self._released.set()


class ExchangeContract:
    @pytest.mark.parametrize("phase", get_args(Phase))
    def test_a_question_of_every_phase_reaches_the_sites(self, federation: Federation, phase: Phase) -> None:
        with federation(dict.fromkeys(SITES, reverse)) as exchange:
            asked = replace(question(b"abc"), phase=phase)
            assert by_site(exchange.ask(asked)) == dict.fromkeys(SITES, b"cba")

    def test_every_site_answers_exactly_once(self, federation: Federation) -> None:
        with federation(dict.fromkeys(SITES, reverse)) as exchange:
            assert exchange.online() == frozenset(SITES)
            assert by_site(exchange.ask(question(b"model"))) == dict.fromkeys(SITES, b"ledom")

    def test_only_the_sites_of_the_question_are_asked(self, federation: Federation) -> None:
        with federation(dict.fromkeys(SITES, reverse)) as exchange:
            assert by_site(exchange.ask(question(b"model", sites=(EAST,)))) == {EAST: b"ledom"}

    @pytest.mark.parametrize("size", [1, 12_000_000])
    def test_payloads_arrive_unchanged_both_ways(self, federation: Federation, size: int) -> None:
        received: dict[SiteName, bytes] = {}

        def answerer(site: SiteName) -> Answerer:
            def remember(payload: bytes) -> bytes:
                received[site] = payload
                return site.encode() + payload

            return remember

        payload = bytes(range(256)) * (size // 256) + b"\x00" * (size % 256)
        with federation({site: answerer(site) for site in SITES}) as exchange:
            answers = by_site(exchange.ask(question(payload)))
        assert received == dict.fromkeys(SITES, payload)
        assert answers == {site: site.encode() + payload for site in SITES}

    def test_a_silent_site_is_late_and_holds_up_nobody(self, federation: Federation) -> None:
        silent = SilentUntilReleased()
        arrived_s = {}
        with federation({NORTH: reverse, EAST: silent, SOUTH: reverse}) as exchange:
            start = time.monotonic()
            for item in exchange.ask(question(b"model", deadline_s=3.0)):
                arrived_s[item.site] = time.monotonic() - start
                if item.site == EAST:
                    assert item == NoAnswer(site=EAST, reason="late")
            silent.release()
        assert arrived_s[NORTH] < 3.0 and arrived_s[SOUTH] < 3.0 <= arrived_s[EAST] + 0.1

    def test_a_raising_site_is_a_link_error_and_spoils_no_other(self, federation: Federation) -> None:
        with federation({NORTH: reverse, EAST: fail, SOUTH: reverse}) as exchange:
            first = by_site(exchange.ask(question(b"model")))
            again = by_site(exchange.ask(question(b"model")))
        assert first == again == {NORTH: b"ledom", EAST: "link-error", SOUTH: b"ledom"}

    def test_a_late_answer_is_not_taken_for_the_next_question_s(self, federation: Federation) -> None:
        slow = SilentUntilReleased()
        with federation({NORTH: reverse, EAST: slow, SOUTH: reverse}) as exchange:
            late = by_site(exchange.ask(question(b"first", deadline_s=1.0)))
            slow.release()
            answers = by_site(exchange.ask(question(b"second")))
        assert late[EAST] == "late"
        assert answers == dict.fromkeys(SITES, b"dnoces")
