"""kill -9 at any time: nobody spends twice, and the run goes on by itself."""

from pathlib import Path

import pytest
from tests.end_to_end.processes import SCENARIO, Federation, federation, finish, stop, wait_until

from fed_common import checkpoint as checkpoints
from fed_common.names import SiteName
from fed_server.journal import PhaseAsked, RoundPublished, RunResumed, SiteAnswered
from fed_server.settings import AggregationTable
from fed_sim.scenario import Scenario

pytestmark = pytest.mark.slow

# Long enough rounds that a kill lands inside one.
LONG_ROUNDS: Scenario = SCENARIO.model_copy(
    update={
        "training": SCENARIO.training.model_copy(update={"rounds": 3, "steps_per_round": 100}),
        "quorum": SCENARIO.quorum.model_copy(update={"gather_s": 60.0}),
    }
)


def charged(started: Federation, name: SiteName, number: int) -> bool:
    ledger = started.consortium.root / name / "state/ledger/ledger.jsonl"
    return ledger.exists() and any(event[1] == number for event in started.charges(name))


def published(started: Federation) -> list[RoundPublished]:
    return [event for event in started.events() if isinstance(event, RoundPublished)]


def nobody_spent_twice(started: Federation) -> bool:
    ledgers = [started.charges(name) for name in started.consortium.sites]
    return all(len(charges) == len(set(charges)) for charges in ledgers)


def test_a_killed_client_loses_its_round_comes_back_and_never_spends_twice(
    tmp_path: Path, hospitals: Path
) -> None:
    with federation(tmp_path / "killed", hospitals, LONG_ROUNDS) as started:
        victim = started.consortium.sites[2]
        server, sites = started.server(), started.sites()
        wait_until(lambda: charged(started, victim, 1), what="the victim is in round 1")
        sites[victim].kill()
        sites[victim].wait()
        started.site(victim)
        assert finish(server) == 0, started.server_log

        # Of three sites all are needed for a sum, and the victim's update of round 1 is lost for good.
        assert [(event.round, len(event.sites)) for event in published(started)] == [(1, 0), (2, 3), (3, 3)]
        assert nobody_spent_twice(started)


def test_a_client_that_stays_away_does_not_stop_the_others(tmp_path: Path, hospitals: Path) -> None:
    plain = LONG_ROUNDS.model_copy(update={"aggregation": AggregationTable(masked=False)})
    with federation(tmp_path / "gone", hospitals, plain) as started:
        victim = started.consortium.sites[0]
        server, sites = started.server(), started.sites()
        wait_until(lambda: charged(started, victim, 1), what="the victim is in round 1")
        sites[victim].kill()
        assert finish(server) == 0, started.server_log

        assert [(event.round, len(event.sites)) for event in published(started)] == [(1, 2), (2, 2), (3, 2)]


def test_a_server_killed_in_the_middle_of_a_round_gets_the_same_answers_again(
    tmp_path: Path, hospitals: Path
) -> None:
    with federation(tmp_path / "middle", hospitals, LONG_ROUNDS) as started:
        server, _ = started.server(), started.sites()

        def one_site_answered_round_2() -> bool:
            return any(isinstance(event, SiteAnswered) and event.round == 2 for event in started.events())

        wait_until(one_site_answered_round_2, what="an answer in round 2")
        server.kill()
        server.wait()
        assert finish(started.server()) == 0, started.server_log

        assert RunResumed(round=1) in started.events()
        asked = [event.round for event in started.events() if isinstance(event, PhaseAsked)]
        assert asked == [1, 2, 2, 3, 3]  # round 2 twice; round 3 is trained and evaluated
        assert [event.round for event in published(started)] == [1, 2, 3]
        assert nobody_spent_twice(started)
        log = "".join(started.site_log(name).read_text() for name in started.consortium.sites)
        assert "round 2 train: asked again, the same bytes are sent" in log


def test_a_server_killed_between_rounds_goes_on_from_the_last_signed_checkpoint(
    tmp_path: Path, hospitals: Path
) -> None:
    with federation(tmp_path / "between", hospitals, LONG_ROUNDS) as started:
        server, _ = started.server(), started.sites()
        wait_until(lambda: len(published(started)) == 1, what="round 1 is published")
        server.kill()
        server.wait()
        before = checkpoints.latest(started.folder.checkpoints)
        assert before is not None
        assert finish(started.server()) == 0, started.server_log

        assert RunResumed(round=int(before.name)) in started.events()
        assert [path.name for path in sorted(started.folder.checkpoints.iterdir())] == [
            "0000", "0001", "0002", "0003",
        ]  # fmt: skip
        assert nobody_spent_twice(started)


def test_sigterm_in_the_middle_of_a_round_ends_both_sides_at_once_and_loses_nothing(
    tmp_path: Path, hospitals: Path
) -> None:
    with federation(tmp_path / "stopped", hospitals, LONG_ROUNDS) as started:
        server, sites = started.server(), started.sites()
        wait_until(lambda: charged(started, started.consortium.sites[0], 1), what="round 1 is charged")
        assert stop(server) == 0
        assert {stop(site) for site in sites.values()} == {0}
        assert "goes on where it was" in started.server_log

        started.sites()
        assert finish(started.server()) == 0, started.server_log
        assert [event.round for event in published(started)] == [1, 2, 3]
        assert nobody_spent_twice(started)
