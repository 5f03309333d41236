"""What a coordinator sends that is no question, or is too large for one, is in the site's audit log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flwr.app import RecordDict
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse
from flwr.supernode.fleet_http_client import FleetHttpClient
from tests.contracts.exchange_contract import NORTH, by_site, question, reverse
from tests.contracts.flower_federation import link_to, make_pki, running, serving, wait_until

from fed_client.link_events import told
from fed_client.site_log import SiteLog
from fed_common.audit_log.facts import RequestsRefused
from fed_common.audit_log.log import AuditLog
from fed_server.exchange import Exchange

Damage = Callable[[pytest.MonkeyPatch], None]


def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def pull(client: FleetHttpClient, request: PullObjectRequest) -> PullObjectResponse:
        garbage = b"ConfigRecord  3\x00\xff\xff\xff"
        return PullObjectResponse(object_found=True, object_available=True, object_content=garbage)

    monkeypatch.setattr(FleetHttpClient, "PullObject", pull)


def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fed_server.flower_link.pack", lambda _: RecordDict())


def too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fed_client.flower_link.question.MAX_QUESTION_BYTES", 4)


def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any part is larger than all that a question may have."""
    too_large(monkeypatch)
    monkeypatch.setattr("fed_client.flower_link.question.PIECE_BYTES", 0)


@contextmanager
def site_with_a_log(folder: Path) -> Iterator[tuple[Exchange, AuditLog]]:
    pki, log = make_pki(folder / "pki"), AuditLog(folder / "log.jsonl")
    with (
        serving(pki) as exchange,
        told(SiteLog(site=NORTH, log=log)) as on_event,
        running(link_to(exchange.port, pki, state=folder), reverse, on_event),
    ):
        wait_until(lambda: exchange.online() == {NORTH})
        yield exchange, log


def refused(log: AuditLog) -> list[tuple[str, RequestsRefused]]:
    return [(line.entry.actor, line.fact) for line in log.read() if isinstance(line.fact, RequestsRefused)]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (unreadable, "question-malformed"),
        (empty, "question-malformed"),
        (too_large, "question-too-large"),
        (endless, "question-too-large"),
    ],
)
def test_a_question_that_is_none_leaves_a_number_and_no_flood_of_lines(
    tmp_path: Path, damage: Damage, code: str
) -> None:
    with site_with_a_log(tmp_path) as (exchange, log):
        with pytest.MonkeyPatch.context() as monkeypatch:
            damage(monkeypatch)
            for _ in range(5):
                assert by_site(exchange.ask(question(b"model", sites=(NORTH,)))) == {NORTH: "link-error"}
        assert by_site(exchange.ask(question(b"model", sites=(NORTH,)))) == {NORTH: b"ledom"}
    traces = refused(log)
    assert {(actor, fact.code) for actor, fact in traces} == {(NORTH, code)}
    assert sum(fact.count for _, fact in traces) == 5
    assert len(traces) < 5
