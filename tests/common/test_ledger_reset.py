"""A new budget begins only by the privacy officer's word, and that word says which ledger it replaces."""

from pathlib import Path

import pytest
from tests.common.test_ledger import SPEND, charge, file_of, witness_of
from tests.fakes import NORTH, OFFICER_KEYS, RUN, SITE_KEYS, held_ledger, new_key
from tests.full_disk import disk_full_after

from fed_common import signed_fact
from fed_common.errors import LedgerError, MachineError, TrustError
from fed_common.ledger_record import LedgerHead, LedgerOpening, LedgerRecord
from fed_common.ledger_reset import reset_ledger, sign_reset

OFFICER = OFFICER_KEYS[NORTH]
KEY = SITE_KEYS[NORTH]


def opening(replaces: LedgerHead, *, reason: str = "the disk died") -> LedgerOpening:
    return sign_reset(OFFICER, site=NORTH, replaces=replaces, reason=reason)


def reset(folder: Path, replaces: LedgerHead) -> None:
    reset_ledger(file_of(folder), opening(replaces), witness=witness_of(folder), key=KEY)


def test_a_reset_is_the_first_line_of_a_new_budget_and_names_the_old_head(tmp_path: Path) -> None:
    old = charge(tmp_path, 1, 2)
    reset(tmp_path, old)
    with held_ledger(tmp_path) as ledger:
        assert ledger.spends == ()
        assert ledger.contains(old) and ledger.head.events == 1
        ledger.charge(RUN, 3, "train", SPEND)
    with held_ledger(tmp_path) as ledger:
        begun = ledger.record.opening
        assert begun is not None and begun.opened.reset.replaces == old
        begun.opened.verify(OFFICER.verifying_key)
        assert (ledger.head.events, ledger.spends, ledger.events[0].seq) == (2, (SPEND,), 1)


def test_the_old_ledger_is_kept(tmp_path: Path) -> None:
    old = charge(tmp_path, 1, 2)
    reset(tmp_path, old)
    (kept,) = file_of(tmp_path).parent.glob("before-*.jsonl")
    assert LedgerRecord.read(kept, KEY.verifying_key).head == old


def test_a_lost_ledger_opens_again_only_after_a_reset(tmp_path: Path) -> None:
    old = charge(tmp_path, 1)
    file_of(tmp_path).unlink()
    with pytest.raises(LedgerError, match="missing"), held_ledger(tmp_path):
        pass
    reset(tmp_path, old)
    with held_ledger(tmp_path) as ledger:
        assert ledger.contains(old)


def test_a_reset_by_another_than_the_officer_is_none() -> None:
    signed = sign_reset(new_key(), site=NORTH, replaces=LedgerHead(events=0, digest=NONE), reason="mine")
    with pytest.raises(TrustError):
        signed.opened.verify(OFFICER.verifying_key)


NONE = LedgerRecord.of([], KEY.verifying_key).head.digest


@pytest.mark.parametrize("reason", ["", "  ", "x" * 301])
def test_a_reset_without_a_reason_is_refused(reason: str) -> None:
    with pytest.raises(LedgerError, match="reason"):
        opening(LedgerHead(events=0, digest=NONE), reason=reason)


def test_an_opening_in_the_middle_gives_no_budget_back(tmp_path: Path) -> None:
    head = charge(tmp_path, 1)
    with file_of(tmp_path).open("ab") as file:
        file.write(signed_fact.sign(opening(head), KEY) + b"\n")
    with pytest.raises(LedgerError, match="event 1"), held_ledger(tmp_path):
        pass


def test_an_opening_that_the_site_did_not_sign_is_refused(tmp_path: Path) -> None:
    head = charge(tmp_path, 1)
    file_of(tmp_path).write_bytes(signed_fact.sign(opening(head), new_key()) + b"\n")
    with pytest.raises(LedgerError, match="event 0"), held_ledger(tmp_path):
        pass


def test_the_ledger_before_a_reset_does_not_come_back(tmp_path: Path) -> None:
    head = charge(tmp_path, 1)
    before = file_of(tmp_path).read_bytes()
    reset(tmp_path, head)
    file_of(tmp_path).write_bytes(before)
    with pytest.raises(LedgerError, match="older than its witness"), held_ledger(tmp_path):
        pass


@pytest.mark.parametrize("room", [0, 60, 700])
def test_on_a_full_disk_the_old_ledger_stays(tmp_path: Path, room: int) -> None:
    head = charge(tmp_path, 1, 2)
    with disk_full_after(room), pytest.raises(MachineError):
        reset(tmp_path, head)
    with held_ledger(tmp_path) as ledger:
        assert ledger.spends == (SPEND, SPEND)
