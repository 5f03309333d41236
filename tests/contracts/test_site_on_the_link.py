"""A whole site on the Flower link: what line and machine do to it costs no privacy, and ends no daemon."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.client.fake_randomness import FakeRandomness
from tests.contracts.exchange_contract import AMPLE_S, NORTH, by_site
from tests.contracts.flower_federation import answering, link_to, make_pki, serving, wait_until
from tests.fakes import RUN, SITE_KEYS, opened_site, plan_of, sealed
from tests.ports import free_port

from fed_client.flower_link import serve
from fed_client.private_step import PatientBatch, private_step
from fed_common.messages import AnswerStatement, unseal
from fed_server.exchange import Exchange, Question

# More than any machine's processor can address.
TOO_MANY = 1 << 50


@dataclass(frozen=True)
class Hungry:
    """A step that needs more memory than there is."""

    take: Callable[[int], object]

    def clipped_sum(
        self, batch: PatientBatch, *, clip_norm: float, class_weights: Sequence[float] = ()
    ) -> NDArray[np.float64]:
        self.take(TOO_MANY)
        raise AssertionError("so much memory was there")


def asked(exchange: Exchange, number: int) -> bytes | str:
    """Return what the site says to the plan of a round, or why it says nothing."""
    payload = sealed(plan_of(number=number))
    question = Question(
        run=RUN, round=number, phase="train", sites=(NORTH,), parts=(payload,), deadline_s=AMPLE_S
    )
    return by_site(exchange.ask(question))[NORTH]


def refusal_of(answer: bytes | str) -> str | None:
    assert isinstance(answer, bytes)
    statement, _ = unseal(answer, AnswerStatement, SITE_KEYS[NORTH].verifying_key)
    return statement.refusal.code if statement.refusal else None


def test_nothing_is_charged_while_the_server_is_away(tmp_path: Path) -> None:
    pki, port, randomness = make_pki(tmp_path / "pki"), free_port(), FakeRandomness()
    with opened_site(tmp_path, randomness=randomness) as site:
        link = link_to(port, pki, state=tmp_path / "link")
        with answering(link, site.answer) as events:
            wait_until(lambda: events == ["disconnected"])
            assert (site.ledger.events, randomness.noise_calls) == ((), 0)
            with serving(pki, port=port) as exchange:
                wait_until(lambda: exchange.online() == {NORTH})
                assert refusal_of(asked(exchange, 1)) is None
            wait_until(lambda: events[-1] == "disconnected")
            assert len(site.ledger.events) == 1


@pytest.mark.parametrize("take", [np.empty, torch.empty], ids=["numpy", "torch"])
def test_out_of_memory_fails_the_round_stays_charged_and_leaves_the_daemon_alive(
    tmp_path: Path, take: Callable[[int], object], caplog: pytest.LogCaptureFixture
) -> None:
    pki = make_pki(tmp_path / "pki")
    with opened_site(tmp_path) as site, serving(pki) as exchange:
        with answering(link_to(exchange.port, pki, state=tmp_path / "link"), site.answer):
            wait_until(lambda: exchange.online() == {NORTH})
            site.make_step = lambda model: Hungry(take)
            assert asked(exchange, 1) == "link-error"
            site.make_step = private_step
            assert refusal_of(asked(exchange, 1)) == "round-charged-without-answer"
            assert refusal_of(asked(exchange, 2)) is None
        assert [event.round for event in site.ledger.events] == [1, 2]
    assert "a question was not answered: " in caplog.text


class Impatient(threading.Event):
    """Notes how long it is asked to wait instead of waiting; set after some times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0.0)
        if len(self.pauses) == self.times:
            self.set()
        return self.is_set()


def test_pauses_between_attempts_grow_to_a_limit_and_differ(tmp_path: Path) -> None:
    link, stop = link_to(free_port(), make_pki(tmp_path / "pki"), state=tmp_path), Impatient(8)
    serve(lambda payload: payload, link=link, stop=stop, on_event=lambda event: None)
    jitter = np.array(stop.pauses) / [0.5, 1, 2, 4, 8, 15, 15, 15]
    assert np.all((jitter >= 0.8) & (jitter <= 1.2))
    assert len(set(jitter)) == len(jitter)
