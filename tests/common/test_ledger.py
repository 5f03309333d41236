"""The budget survives crashes, and nobody gets it back by editing, deleting or restoring a file."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import NORTH, POLICY, RUN, SITE_KEYS, held_ledger, new_key
from tests.full_disk import disk_full_after

from fed_common import canonical, signed_fact
from fed_common.accounting import Spend
from fed_common.errors import LedgerError, MachineError
from fed_common.ledger_record import GENESIS, LedgerEvent, LedgerHead, LedgerRecord
from fed_common.names import Digest

SPEND = Spend(noise_multiplier=1.0, sampling_rate=0.5, steps=2)


def charge(folder: Path, *rounds: int) -> LedgerHead:
    with held_ledger(folder) as ledger:
        for number in rounds:
            ledger.charge(RUN, number, "train", SPEND)
        return ledger.head


def file_of(folder: Path) -> Path:
    return folder / "ledger" / "ledger.jsonl"


def witness_of(folder: Path) -> Path:
    return folder / "witness" / "head.json"


def refused(folder: Path, match: str) -> None:
    before = file_of(folder).read_bytes() if file_of(folder).exists() else None
    with pytest.raises(LedgerError, match=match), held_ledger(folder):
        pass
    assert (file_of(folder).read_bytes() if file_of(folder).exists() else None) == before


def test_a_charge_survives_reopening(tmp_path: Path) -> None:
    head = charge(tmp_path, 1, 2)
    with held_ledger(tmp_path) as ledger:
        assert ledger.spends == (SPEND, SPEND)
        assert ledger.head == head
        assert ledger.charged(RUN, 2, "train")
        assert not ledger.charged(RUN, 2, "evaluate")


def test_a_head_is_known_to_the_ledger_that_grew_out_of_it(tmp_path: Path) -> None:
    empty, first, second = charge(tmp_path), charge(tmp_path, 1), charge(tmp_path, 2)
    with held_ledger(tmp_path) as ledger:
        assert all(ledger.contains(head) for head in (empty, first, second))
        assert not ledger.contains(LedgerHead(events=1, digest=second.digest))
        assert not ledger.contains(LedgerHead(events=3, digest=second.digest))
        assert not ledger.contains(LedgerHead(events=0, digest=first.digest))
        assert not ledger.contains(LedgerHead(events=-1, digest=first.digest))


@pytest.mark.parametrize("seq", [0, 1, 2])
def test_a_flipped_byte_names_its_line(tmp_path: Path, seq: int) -> None:
    charge(tmp_path, 1, 2, 3)
    lines = file_of(tmp_path).read_bytes().splitlines(keepends=True)
    lines[seq] = lines[seq].replace(b'"steps":2', b'"steps":1')
    file_of(tmp_path).write_bytes(b"".join(lines))
    refused(tmp_path, f"event {seq}")


@pytest.mark.parametrize("order", [(0, 2), (1, 0, 2), (0, 1, 1, 2), (1, 2)])
def test_a_line_taken_out_moved_or_doubled_is_refused(tmp_path: Path, order: tuple[int, ...]) -> None:
    charge(tmp_path, 1, 2, 3)
    lines = file_of(tmp_path).read_bytes().splitlines(keepends=True)
    file_of(tmp_path).write_bytes(b"".join(lines[index] for index in order))
    refused(tmp_path, "does not follow")


def test_a_line_of_another_history_of_the_same_site_is_refused(tmp_path: Path) -> None:
    charge(tmp_path / "here", 1, 2)
    charge(tmp_path / "there", 7, 8)
    first, _ = file_of(tmp_path / "here").read_bytes().splitlines(keepends=True)
    _, second = file_of(tmp_path / "there").read_bytes().splitlines(keepends=True)
    file_of(tmp_path / "here").write_bytes(first + second)
    refused(tmp_path / "here", "event 1: does not follow")


def test_a_deleted_ledger_is_refused_by_its_witness(tmp_path: Path) -> None:
    charge(tmp_path, 1)
    file_of(tmp_path).unlink()
    refused(tmp_path, "missing or older")


def test_an_older_copy_is_refused(tmp_path: Path) -> None:
    charge(tmp_path, 1)
    older = file_of(tmp_path).read_bytes()
    charge(tmp_path, 2)
    file_of(tmp_path).write_bytes(older)
    refused(tmp_path, "has seen 2 events")


def test_a_torn_line_does_not_hide_an_older_copy(tmp_path: Path) -> None:
    charge(tmp_path, 1)
    older = file_of(tmp_path).read_bytes()
    charge(tmp_path, 2, 3)
    file_of(tmp_path).write_bytes(older + b'{"fact"')
    refused(tmp_path, "has seen 3 events")


def test_a_line_cut_after_it_was_witnessed_is_refused(tmp_path: Path) -> None:
    charge(tmp_path, 1, 2)
    file_of(tmp_path).write_bytes(file_of(tmp_path).read_bytes()[:-1])
    refused(tmp_path, "has seen 2 events")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{}")])
def test_a_missing_or_damaged_witness_is_refused(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    charge(tmp_path, 1)
    damage(witness_of(tmp_path))
    refused(tmp_path, "witness")


@pytest.mark.parametrize("left", [1, 100, -1])
def test_a_line_torn_by_a_power_cut_counts_as_the_costliest_round(tmp_path: Path, left: int) -> None:
    charge(tmp_path, 1)
    before, witness = file_of(tmp_path).read_bytes(), witness_of(tmp_path).read_bytes()
    charge(tmp_path, 2)
    torn = file_of(tmp_path).read_bytes()[len(before) :][:left]
    file_of(tmp_path).write_bytes(before + torn)
    witness_of(tmp_path).write_bytes(witness)
    for _ in range(2):  # the second time it is a line like the others
        with held_ledger(tmp_path) as ledger:
            assert ledger.spends == (SPEND, POLICY.costliest_round())
            assert ledger.events[-1].kind == "torn-line"


def test_two_processes_cannot_hold_one_ledger(tmp_path: Path) -> None:
    with held_ledger(tmp_path), pytest.raises(MachineError, match="another"), held_ledger(tmp_path):
        pass


def event(spend: Spend = SPEND) -> LedgerEvent:
    return LedgerEvent(
        seq=0,
        time=0,
        nonce="0" * 16,
        kind="charge",
        site=NORTH,
        run=RUN,
        round=1,
        phase="train",
        unit="patient",
        dataset=Digest("d"),
        officer=Digest("o"),
        policy=POLICY.digest,
        spend=spend,
        previous=GENESIS,
    )


def test_a_line_signed_by_another_key_is_refused() -> None:
    line = signed_fact.sign(event(), new_key()) + b"\n"
    with pytest.raises(LedgerError, match="event 0"):
        LedgerRecord.of([line], SITE_KEYS[NORTH].verifying_key)


@pytest.mark.parametrize("noise", [b"1000000000.0", b"0.0", b"-1.0", b"NaN"])
def test_a_noise_that_no_release_has_is_refused_even_if_signed(noise: bytes) -> None:
    key = SITE_KEYS[NORTH]
    payload = canonical.encode(event()).replace(b'"noise_multiplier":1.0', b'"noise_multiplier":' + noise)
    signature = key.sign(payload_type="application/vnd.fed.LedgerEvent.v1+json", payload=payload)
    line = b'{"fact":%s,"signature":"%s"}\n' % (payload, signature.hex().encode())
    with pytest.raises(LedgerError, match="event 0"):
        LedgerRecord.of([line], key.verifying_key)


@pytest.mark.parametrize("room", [0, 1, 300])
def test_a_full_disk_is_an_error_and_leaves_a_ledger_that_goes_on(tmp_path: Path, room: int) -> None:
    charge(tmp_path, 1)
    with held_ledger(tmp_path) as ledger:
        size = file_of(tmp_path).stat().st_size
        with disk_full_after(size + room), pytest.raises(MachineError):
            ledger.charge(RUN, 2, "train", SPEND)
        ledger.charge(RUN, 3, "train", SPEND)
    with held_ledger(tmp_path) as ledger:
        assert [event.round for event in ledger.events] == [1, 3]


STEPS = st.lists(st.sampled_from(["charge", "crash", "reopen", "copy", "restore"]), max_size=8)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, cut=st.integers(1, 400))
def test_recorded_is_never_less_than_spent(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("site")
    copy, spent = folder / "copy", 0
    for number, step in enumerate(steps):
        ledger, witness = file_of(folder), witness_of(folder)
        if step == "restore" and copy.exists():
            shutil.copyfile(copy, ledger)
        elif step == "copy" and ledger.exists():
            shutil.copyfile(ledger, copy)
        try:
            with held_ledger(folder) as held:
                assert len(held.events) >= spent
                if step == "crash":
                    whole = [path.read_bytes() if path.exists() else b"" for path in (ledger, witness)]
                    held.charge(RUN, number, "train", SPEND)
                    # Cut off while it was written: the line was not synced, the witness not moved on.
                    ledger.write_bytes(whole[0] + ledger.read_bytes()[len(whole[0]) :][:-cut])
                    witness.write_bytes(whole[1])
                elif step == "charge":
                    held.charge(RUN, number, "train", SPEND)
                    spent += 1
        except LedgerError:
            assert step == "restore"
            return


def test_changing_the_policy_or_the_run_gives_no_budget_back(tmp_path: Path) -> None:
    charge(tmp_path, 1)
    with held_ledger(tmp_path, policy=replace(POLICY, epsilon=1000.0)) as ledger:
        assert ledger.spends == (SPEND,)
