"""What is handed out of a log is checked with a public key alone, and says nothing that doesn't hold."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.common.audit_log.test_log import written
from tests.fakes import COORDINATOR_KEY, SITE_KEYS, new_key

from fed_common import signed_fact
from fed_common.audit_log.handed_out import (
    CheckedLog,
    ConsistencyProof,
    InclusionProof,
    LogExport,
    export_log,
    prove_entry,
    prove_growth,
    read_handed_out,
)
from fed_common.errors import ConfigError, MalformedMessageError, TrustError

KEYS = [key.verifying_key for key in (*SITE_KEYS.values(), COORDINATOR_KEY)]


@pytest.fixture
def log(tmp_path: Path) -> CheckedLog:
    return CheckedLog(owner="coordinator", lines=written(tmp_path).read())


def test_a_copy_is_the_log(log: CheckedLog) -> None:
    assert read_handed_out(export_log(log, COORDINATOR_KEY), KEYS) == (log, COORDINATOR_KEY.verifying_key)


def test_each_entry_and_each_growth_can_be_proved(log: CheckedLog) -> None:
    for seq in range(3):
        proof, _ = read_handed_out(prove_entry(log, seq, COORDINATOR_KEY), KEYS)
        assert isinstance(proof, InclusionProof)
        assert (proof.entry, proof.head) == (log.lines[seq].entry, log.head)
    for size in range(4):
        growth, _ = read_handed_out(prove_growth(log, size, COORDINATOR_KEY), KEYS)
        assert isinstance(growth, ConsistencyProof)
        assert log.contains(growth.first) and growth.head == log.head


@pytest.mark.parametrize("prove", [prove_entry, prove_growth])
@pytest.mark.parametrize("number", [-1, 4])
def test_what_is_not_there_cannot_be_proved(
    log: CheckedLog, prove: Callable[..., bytes], number: int
) -> None:
    with pytest.raises(ConfigError, match=r"must be in \[0, "):
        prove(log, number, COORDINATOR_KEY)


def test_a_stranger_s_copy_is_none(log: CheckedLog) -> None:
    with pytest.raises(TrustError, match="--key"):
        read_handed_out(export_log(log, new_key()), KEYS)


def test_no_byte_of_what_was_handed_out_can_be_changed(log: CheckedLog) -> None:
    for raw in (export_log(log, COORDINATOR_KEY), prove_entry(log, 1, COORDINATOR_KEY)):
        for place in range(0, len(raw) - 1, 37):
            changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
            with pytest.raises((TrustError, MalformedMessageError)):
                read_handed_out(changed, KEYS)


def test_an_owner_cannot_sign_what_does_not_hold(log: CheckedLog) -> None:
    shorter = CheckedLog(owner=log.owner, lines=log.lines[:2])
    lines = tuple(line.encode().decode() for line in log.lines)
    lies = (
        LogExport(owner=log.owner, exported=1, head=shorter.head, lines=lines),
        LogExport(owner=log.owner, exported=1, head=shorter.head, lines=lines[1:]),
        InclusionProof(owner=log.owner, entry=log.lines[2].entry, head=shorter.head, path=()),
        InclusionProof(
            owner=log.owner, entry=replace(log.lines[2].entry, ts=1), head=log.head, path=(log.head.root,)
        ),
        ConsistencyProof(owner=log.owner, first=shorter.head, head=log.head, path=()),
    )
    for lie in lies:
        with pytest.raises(TrustError):
            read_handed_out(signed_fact.sign(lie, COORDINATOR_KEY), KEYS)


def test_a_log_contains_the_heads_that_it_had_and_no_other(log: CheckedLog) -> None:
    before = CheckedLog(owner=log.owner, lines=log.lines[:2]).head
    assert log.contains(before) and log.contains(log.head)
    assert not log.contains(replace(before, size=1))
    assert not log.contains(replace(before, size=99))
