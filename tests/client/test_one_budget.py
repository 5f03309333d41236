"""The same patients have one budget, whatever is renamed, restored or asked again, until it is reset."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import (
    DP,
    EVALUATE,
    NORTH,
    OFFICER_KEYS,
    POLICY,
    SITE_KEYS,
    TRAIN,
    countersignature_in,
    dataset_of,
    opened_site,
    plan_of,
    sealed,
)

from fed_common.errors import LedgerError
from fed_common.ledger_record import LedgerHead, LedgerRecord
from fed_common.ledger_reset import reset_ledger, sign_reset
from fed_common.messages import AnswerStatement, RefusalCode, RoundPlan, WitnessedHead, unseal
from fed_common.names import RunId
from fed_common.plans import Terms

# The budget of `POLICY` is 6 steps, a round takes 2.
TIGHTENING = replace(POLICY, beyond_limits="tighten")


def statement_of(message: bytes) -> AnswerStatement:
    return unseal(message, AnswerStatement, SITE_KEYS[NORTH].verifying_key)[0]


def code_of(message: bytes) -> RefusalCode | None:
    refusal = statement_of(message).refusal
    return refusal.code if refusal else None


def witnessing(plan: RoundPlan, head: LedgerHead) -> RoundPlan:
    return replace(plan, witnessed=(WitnessedHead(site=NORTH, head=head),))


def answer(folder: Path, plan: RoundPlan, *, expires: int = 1 << 40) -> AnswerStatement:
    """Open the hospital anew and return what it states."""
    with opened_site(folder) as site:
        return statement_of(site.answer(sealed(plan, expires=expires)))


def test_neither_another_run_nor_other_data_is_another_budget(tmp_path: Path) -> None:
    for number, dataset in enumerate((dataset_of(8), dataset_of(8, seed=1), dataset_of(12)), start=1):
        with opened_site(tmp_path, dataset=dataset) as site:
            plan = replace(plan_of(number=1), run=RunId(f"run-{number}"))
            assert code_of(site.answer(sealed(plan))) is None
    with opened_site(tmp_path, dataset=dataset_of(16)) as site:
        assert code_of(site.answer(sealed(replace(plan_of(), run=RunId("run-4"))))) == "budget-exhausted"


def test_a_clock_that_goes_backwards_changes_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tmp_path, plan_of(number=1))
    monkeypatch.setattr("fed_common.ledger.time.time", lambda: 1.0)
    answer(tmp_path, plan_of(number=2))
    record = LedgerRecord.read(tmp_path / "ledger/ledger.jsonl", SITE_KEYS[NORTH].verifying_key)
    assert [event.seq for event in record.events] == [0, 1]
    assert record.events[1].time < record.events[0].time


def test_ledger_and_witness_restored_together_are_older_than_what_the_coordinator_signed(
    tmp_path: Path,
) -> None:
    first = answer(tmp_path, plan_of(number=1))
    for name in ("ledger", "witness"):
        shutil.copytree(tmp_path / name, tmp_path / "backup" / name)
    second = answer(tmp_path, witnessing(plan_of(number=2), first.privacy.ledger))
    restore(tmp_path)
    plan = witnessing(plan_of(number=3), second.privacy.ledger)
    refused = answer(tmp_path, plan, expires=(1 << 40) + 1).refusal
    assert refused is not None and refused.code == "ledger-behind-coordinator"
    # From now on the site itself knows, before any plan comes.
    record = LedgerRecord.read(tmp_path / "ledger/ledger.jsonl", SITE_KEYS[NORTH].verifying_key)
    with pytest.raises(LedgerError, match="the coordinator has seen it: 2 events"):
        countersignature_in(tmp_path).refuse_older(record)


def restore(folder: Path) -> None:
    for name in ("ledger", "witness"):
        shutil.rmtree(folder / name)
        shutil.copytree(folder / "backup" / name, folder / name)


def test_an_older_plan_does_not_take_the_countersigned_head_back(tmp_path: Path) -> None:
    heads = [answer(tmp_path, plan_of(number=number)).privacy.ledger for number in (1, 2)]
    with opened_site(tmp_path) as site:
        site.answer(sealed(witnessing(plan_of(number=3), heads[1]), expires=1 << 41))
        site.answer(sealed(witnessing(plan_of(number=2), heads[0]), expires=1 << 40))
    assert countersignature_in(tmp_path).head() == heads[1]


def test_a_forged_countersignature_is_named(tmp_path: Path) -> None:
    head = answer(tmp_path, plan_of(number=1)).privacy.ledger
    answer(tmp_path, witnessing(plan_of(number=2), head))
    (kept,) = (tmp_path / "countersigned").iterdir()
    kept.write_bytes(kept.read_bytes().replace(b'"events":1', b'"events":0'))
    with pytest.raises(LedgerError, match="not the coordinator's"):
        countersignature_in(tmp_path).head()


def reset(folder: Path, replaces: LedgerHead) -> None:
    opening = sign_reset(OFFICER_KEYS[NORTH], site=NORTH, replaces=replaces, reason="the disk died")
    countersignature_in(folder).forget()
    reset_ledger(
        folder / "ledger/ledger.jsonl", opening, witness=folder / "witness/head.json", key=SITE_KEYS[NORTH]
    )


def test_after_a_reset_that_names_the_head_the_coordinator_saw_the_site_goes_on(tmp_path: Path) -> None:
    heads = [answer(tmp_path, plan_of(number=number)).privacy.ledger for number in (1, 2, 3)]
    assert code(tmp_path, witnessing(plan_of(number=4), heads[2])) == "budget-exhausted"
    reset(tmp_path, heads[2])
    stated = answer(tmp_path, witnessing(plan_of(number=5), heads[2])).privacy
    assert stated.reset is not None and stated.reset.reset.replaces == heads[2]
    assert (stated.epsilon, stated.releases) == (2.0, 1)
    assert code(tmp_path, witnessing(plan_of(number=6), stated.ledger)) is None


def test_a_reset_of_another_head_than_the_coordinator_saw_is_refused(tmp_path: Path) -> None:
    heads = [answer(tmp_path, plan_of(number=number)).privacy.ledger for number in (1, 2)]
    reset(tmp_path, heads[0])
    assert code(tmp_path, witnessing(plan_of(number=3), heads[1])) == "ledger-behind-coordinator"


def code(folder: Path, plan: RoundPlan) -> RefusalCode | None:
    refusal = answer(folder, plan).refusal
    return refusal.code if refusal else None


@pytest.mark.parametrize(
    ("asked", "spent", "codes"),
    [
        (replace(TRAIN, dp=replace(DP, steps=9, noise_multiplier=0.5)), (1.0, 0.5, 2), 2),
        (replace(EVALUATE, noise_multiplier=1.0), (4.0, 1.0, 1), 1),
    ],
)
def test_a_site_that_tightens_charges_what_it_did_and_signs_it(
    tmp_path: Path, asked: Terms, spent: tuple[float, float, int], codes: int
) -> None:
    with opened_site(tmp_path, policy=TIGHTENING) as site:
        statement = statement_of(site.answer(sealed(plan_of(asked))))
        (event,) = site.ledger.events
    assert statement.refusal is None
    assert statement.tightened is not None and len(statement.tightened.codes) == codes
    assert (event.spend.noise_multiplier, event.spend.sampling_rate, event.spend.steps) == spent
