"""Whatever crashes and is restored: a release that the coordinator accepted is in the ledger, or refused."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from tests.fakes import (
    COORDINATOR_SIGNS,
    EVALUATE,
    NORTH,
    POLICY,
    SITE_KEYS,
    opened_site,
    plan_of,
    sealed,
)

from fed_common.errors import LedgerError
from fed_common.ledger_record import LedgerHead
from fed_common.messages import PlanStatement, RoundPlan, WitnessedHead, unseal
from fed_common.names import Digest, RunId, digest_of
from fed_server.continuity import Continuity
from fed_server.exchange import Answer
from fed_server.screening import Contribution, screen

AMPLE = replace(POLICY, epsilon=1000.0)
LEDGER, WITNESS = Path("ledger/ledger.jsonl"), Path("witness/head.json")
PARTS = {
    "the ledger": ("ledger",),
    "the witness": ("witness",),
    "ledger and witness": ("ledger", "witness"),
    "the answers": ("answers",),
    "the countersignature": ("countersigned",),
    "everything": ("ledger", "witness", "answers", "countersigned"),
}
CRASHES = ("before the charge", "in the charge", "before the witness", "before the answer")


@dataclass
class World:
    """One hospital's disk with a backup of it, and a coordinator that remembers what it accepted."""

    folder: Path
    watchful: bool = True
    continuity: Continuity = field(default_factory=lambda: Continuity({}, ()))
    head: LedgerHead | None = None
    asked: RoundPlan | None = None
    accepted: set[Digest] = field(default_factory=set)

    def plan(self, *, new_run: bool) -> RoundPlan:
        number = self.asked.round + 1 if self.asked and not new_run else 1
        run = self.asked.run if self.asked and not new_run else RunId(f"run-{len(self.accepted)}")
        seen = (WitnessedHead(site=NORTH, head=self.head),) if self.head else ()
        return replace(plan_of(EVALUATE, number=number), run=run, witnessed=seen)

    def ask(self, plan: RoundPlan, *, lost: bool = False) -> None:
        """Let the coordinator ask; unless the answer is lost, it is judged and counted as accepted."""
        self.asked = plan
        message = sealed(plan)
        with opened_site(self.folder, policy=AMPLE) as site:
            answer = site.answer(message)
        body = self._body(message)
        key = SITE_KEYS[NORTH].verifying_key
        reply = screen(Answer(site=NORTH, payload=answer), plan, key, num_parameters=body)
        if lost:
            return
        checked = self.continuity.check(reply) if self.watchful else reply
        if isinstance(checked, Contribution):
            self.accepted.add(digest_of(checked.values.tobytes()))
            assert checked.privacy.releases >= len(self.accepted)
            if self.head is None or checked.privacy.ledger.events >= self.head.events:
                self.head = checked.privacy.ledger
        else:
            event(checked.code)

    def _body(self, message: bytes) -> int:
        _, parameters = unseal(message, PlanStatement, COORDINATOR_SIGNS)
        return len(parameters) // 4

    def crash(self, moment: str) -> None:
        """Ask, and put the disk into the state in which a power cut at `moment` would have left it."""
        before = {path: self._read(path) for path in (LEDGER, WITNESS)}
        answers = set((self.folder / "answers").glob("*"))
        self.ask(self.plan(new_run=False), lost=True)
        for answer in set((self.folder / "answers").glob("*")) - answers:
            answer.unlink()
        if moment == "before the answer":
            return
        self._write(WITNESS, before[WITNESS])
        if moment == "in the charge":
            written = self._read(LEDGER)
            self._write(LEDGER, written[: (len(before[LEDGER]) + len(written)) // 2])
        elif moment == "before the charge":
            self._write(LEDGER, before[LEDGER])

    def back_up(self) -> None:
        shutil.rmtree(self.folder / "backup", ignore_errors=True)
        for part in PARTS["everything"]:
            if (self.folder / part).exists():
                shutil.copytree(self.folder / part, self.folder / "backup" / part)

    def restore(self, parts: Sequence[str]) -> None:
        if not (self.folder / "backup").exists():
            return
        for part in parts:
            shutil.rmtree(self.folder / part, ignore_errors=True)
            if (self.folder / "backup" / part).exists():
                shutil.copytree(self.folder / "backup" / part, self.folder / part)

    def _read(self, path: Path) -> bytes:
        whole = self.folder / path
        return whole.read_bytes() if whole.exists() else b""

    def _write(self, path: Path, raw: bytes) -> None:
        (self.folder / path).write_bytes(raw)


ASKING = st.sampled_from(["ask", "ask", "ask again", "another run", "lose the answer", "back up"])
STEP = ASKING | st.sampled_from(CRASHES) | st.sampled_from(sorted(PARTS))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(steps=st.lists(STEP, min_size=4, max_size=10))
@example(steps=["back up", "ask", "everything", "ask again"])
@example(steps=["ask", "back up", "ask", "ledger and witness", "ask"])
def test_what_the_coordinator_accepted_is_recorded(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    follow_all(World(tmp_path_factory.mktemp("site")), steps)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(steps=st.lists(STEP.filter(lambda step: step != "everything"), min_size=4, max_size=10))
@example(steps=["ask", "back up", "ask", "the ledger", "ask"])
@example(steps=["ask", "back up", "ask", "ask", "ledger and witness", "ask"])
@example(steps=["ask", "back up", "ask", "the answers", "ask again"])
def test_a_site_needs_no_watchful_coordinator_unless_all_it_has_is_restored(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    follow_all(World(tmp_path_factory.mktemp("site"), watchful=False), steps)


def follow_all(world: World, steps: list[str]) -> None:
    with opened_site(world.folder, policy=AMPLE):
        pass
    for step in steps:
        try:
            follow(world, step)
        except LedgerError:
            event("the site refused to open")
            return


def follow(world: World, step: str) -> None:
    match step:
        case "ask" | "lose the answer":
            world.ask(world.plan(new_run=False), lost=step == "lose the answer")
        case "ask again":
            world.ask(world.asked or world.plan(new_run=False))
        case "another run":
            world.ask(world.plan(new_run=True))
        case "back up":
            world.back_up()
        case _ if step in CRASHES:
            world.crash(step)
        case _:
            world.restore(PARTS[step])
