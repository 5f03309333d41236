"""The exchange over stock Flower's Grid keeps the promises of every exchange."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from tests.contracts.exchange_contract import (
    EAST,
    NORTH,
    SITES,
    Answerer,
    ExchangeContract,
    Federation,
    by_site,
    fail,
    question,
    reverse,
)
from tests.contracts.flower_federation import wait_until
from tests.contracts.stock_flower import simulated

from fed_common.flower_payload import MAX_PAYLOAD_BYTES, pack, unpack
from fed_common.names import SiteName
from fed_server.exchange import Exchange
from fed_sim.flower_app.client import NAME, in_one_word
from fed_sim.flower_app.exchange import GridExchange


def app_of(sites: list[tuple[str, Answerer]]) -> ClientApp:
    """Return an app whose node k says that it is the k-th site, and answers so."""
    app = ClientApp(mods=[in_one_word])

    def own(context: Context) -> tuple[str, Answerer]:
        return sites[int(context.node_config["partition-id"])]

    @app.query(NAME)
    def name(message: Message, context: Context) -> Message:
        return Message(RecordDict({NAME: ConfigRecord({NAME: own(context)[0]})}), reply_to=message)

    @app.train()
    @app.evaluate()
    @app.query()
    def answer(message: Message, context: Context) -> Message:
        payload = unpack(message.content, at_most=MAX_PAYLOAD_BYTES)
        return Message(pack(own(context)[1](payload)), reply_to=message)

    return app


@pytest.fixture
def federation(monkeypatch: pytest.MonkeyPatch) -> Federation:
    @contextmanager
    def opened(answerers: Mapping[SiteName, Answerer]) -> Iterator[Exchange]:
        app = app_of(list(answerers.items()))
        with simulated(app, nodes=len(answerers), monkeypatch=monkeypatch) as (grid, _):
            exchange = GridExchange(grid)
            wait_until(lambda: exchange.online() == frozenset(answerers))
            yield exchange

    return opened


class TestGridExchange(ExchangeContract):
    pass


def test_no_text_of_an_error_leaves_the_node(
    federation: Federation, caplog: pytest.LogCaptureFixture
) -> None:
    with federation({NORTH: fail}) as exchange:
        assert by_site(exchange.ask(question(b"model", sites=(NORTH,)))) == {NORTH: "link-error"}
    assert "RuntimeError" in caplog.text and "patient" not in caplog.text


def test_a_site_that_has_no_node_is_offline_and_not_waited_for(federation: Federation) -> None:
    with federation({NORTH: reverse}) as exchange:
        # Waiting for them would take longer than the test runner allows.
        replies = by_site(exchange.ask(question(b"model", deadline_s=3600.0)))
    assert replies == {**dict.fromkeys(SITES, "offline"), NORTH: b"ledom"}


def test_a_node_that_says_nothing_sensible_is_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_of([("../../etc", reverse), (EAST, reverse), (EAST, fail)])
    with simulated(app, nodes=3, monkeypatch=monkeypatch) as (grid, _):
        exchange = GridExchange(grid)
        wait_until(lambda: exchange.online() == {EAST} and "doesn't say which" in caplog.text)
