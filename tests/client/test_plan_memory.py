"""A site accepts plans forwards only, whatever it has answered, and remembers across restarts."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import EVALUATE, STATISTICS, TRAIN, lineage_of, new_key, plan_of, plans_in
from tests.full_disk import disk_full_after

from fed_client.policy import PolicyRefusal
from fed_common.errors import ConfigError, MachineError, TrustError
from fed_common.messages import RoundPlan
from fed_common.names import Digest, RunId, body_digest

OTHER_RUN = RunId("run-2")
ELSEWHERE = Digest("f" * 64)


def refused(folder: Path, plan: RoundPlan) -> str:
    with pytest.raises(PolicyRefusal) as refusal:
        plans_in(folder).accept(plan)
    return refusal.value.code


def accept(folder: Path, *plans: RoundPlan) -> None:
    for plan in plans:
        plans_in(folder).accept(plan)


def test_rounds_go_forwards_and_the_newest_may_be_asked_again(tmp_path: Path) -> None:
    statistics, evaluated = plan_of(STATISTICS, number=0), plan_of(EVALUATE, number=1)
    accept(tmp_path, statistics, plan_of(number=1), evaluated, plan_of(number=1), plan_of(number=7))
    assert refused(tmp_path, plan_of(number=6)) == "stale-round"
    assert refused(tmp_path, statistics) == "stale-round"
    accept(tmp_path, plan_of(number=7))


@pytest.mark.parametrize(
    "other",
    [
        replace(plan_of(number=3), parameters=body_digest(b"for this site alone")),
        plan_of(replace(TRAIN, learning_rate=0.2), number=3),
        replace(plan_of(number=3), rounds=10),
    ],
    ids=["model", "terms", "rounds"],
)
def test_a_round_has_one_plan(tmp_path: Path, other: RoundPlan) -> None:
    accept(tmp_path, plan_of(number=3))
    assert refused(tmp_path, other) == "round-asked-differently"
    accept(tmp_path, plan_of(number=3), plan_of(EVALUATE, number=3))


@pytest.mark.parametrize("number", [3, 4, 9])
@pytest.mark.parametrize("exchanged", [0, 2])
def test_a_round_goes_on_from_the_checkpoint_that_was_told(
    tmp_path: Path, number: int, exchanged: int
) -> None:
    accept(tmp_path, plan_of(number=3))
    lineage = list(lineage_of(number))
    lineage[exchanged] = ELSEWHERE
    forked = replace(plan_of(EVALUATE, number=number), lineage=tuple(lineage))
    assert refused(tmp_path, forked) == "model-forked"
    accept(tmp_path, plan_of(EVALUATE, number=number))


def test_a_run_that_another_has_followed_is_over_for_good(tmp_path: Path) -> None:
    accept(tmp_path, plan_of(number=3), replace(plan_of(number=1), run=OTHER_RUN))
    accept(tmp_path, replace(plan_of(number=2), run=OTHER_RUN))
    assert refused(tmp_path, plan_of(number=4)) == "stale-run"
    accept(tmp_path, replace(plan_of(number=1), run=RunId("run-3")))
    assert refused(tmp_path, plan_of(number=4)) == "stale-run"
    assert refused(tmp_path, replace(plan_of(number=9), run=OTHER_RUN)) == "stale-run"


def test_what_was_refused_is_not_remembered(tmp_path: Path) -> None:
    accept(tmp_path, plan_of(number=3))
    memory = plans_in(tmp_path)
    (kept,) = tmp_path.glob("plans/*")
    before = kept.read_bytes()
    assert refused(tmp_path, plan_of(number=2)) == "stale-round"
    assert kept.read_bytes() == before
    memory.refuse_old(plan_of(number=3))
    with pytest.raises(PolicyRefusal, match="stale-round"):
        memory.refuse_old(plan_of(number=2))
    assert kept.read_bytes() == before


def test_a_memory_that_somebody_has_edited_is_not_believed(tmp_path: Path) -> None:
    accept(tmp_path, plan_of(number=3))
    (kept,) = tmp_path.glob("plans/*")
    kept.write_bytes(kept.read_bytes().replace(b'"round":3', b'"round":2'))
    with pytest.raises(TrustError, match="damaged"):
        plans_in(tmp_path).accept(plan_of(number=3))


def test_a_site_with_a_new_key_begins_anew_and_the_old_key_s_memory_stays(tmp_path: Path) -> None:
    accept(tmp_path, plan_of(number=3))
    anew = replace(plans_in(tmp_path), key=new_key())
    anew.accept(plan_of(number=2))
    with pytest.raises(PolicyRefusal, match="stale-round"):
        anew.accept(plan_of(number=1))
    assert refused(tmp_path, plan_of(number=2)) == "stale-round"


def test_on_a_full_disk_nothing_is_accepted(tmp_path: Path) -> None:
    with disk_full_after(10), pytest.raises(MachineError):
        plans_in(tmp_path).accept(plan_of())
    assert not list(tmp_path.glob("plans/*.signed"))


def test_a_plan_without_its_lineage_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match="round 1 follows 1 checkpoints, got 0"):
        replace(plan_of(), lineage=())
