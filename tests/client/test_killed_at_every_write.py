"""kill -9 at every write of a site: what was touched is recorded, nobody twice, and the site goes on."""

import json
import subprocess
import sys
from collections import Counter

import pytest

pytestmark = pytest.mark.slow

Told = dict[str, object]


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> list[Told]:
    folder = tmp_path_factory.mktemp("lives")
    script = [sys.executable, "-m", "tests.client.killed_site", str(folder)]
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def of(lives: list[Told], scenario: str) -> list[Told]:
    return [told for told in lives if told["scenario"] == scenario]


def test_each_scenario_was_killed_at_many_writes_and_came_through_in_the_end(lives: list[Told]) -> None:
    killed = Counter(told["scenario"] for told in lives if told["killed"])
    assert killed["answer"] >= 12 and killed["mend"] >= 15 and killed["reset"] >= 8
    assert Counter(told["scenario"] for told in lives if not told["killed"]) == {
        "answer": 2, "mend": 2, "reset": 2,
    }  # fmt: skip


def test_the_site_always_opens_again_and_answers_the_next_round(lives: list[Told]) -> None:
    assert all(told["opens"] and told["next_round"] == "sent" for told in lives), lives


def test_patients_are_touched_at_most_once_for_a_round(lives: list[Told]) -> None:
    asked = of(lives, "answer") + of(lives, "mend")
    assert {told["touches"] for told in asked} == {0, 1}
    for told in asked:
        # Either the round was done, in the first life or the second, or it is refused for good.
        assert told["again"] == "sent" or told["again"] == "round-charged-without-answer"
        assert told["again"] != "sent" or told["touches"] == 1


def test_what_was_touched_before_the_kill_is_recorded_after_it(lives: list[Told]) -> None:
    refused = [told for told in lives if told["again"] == "round-charged-without-answer"]
    assert any(told["touches"] == 1 for told in refused)
    assert all(told["recorded"] != 0 for told in refused)


def test_a_torn_line_counts_wherever_its_mending_was_killed(lives: list[Told]) -> None:
    assert all(isinstance(told["recorded"], int) and told["recorded"] >= 2 for told in of(lives, "mend"))


def test_a_reset_killed_anywhere_leaves_the_old_ledger_or_the_new_one(lives: list[Told]) -> None:
    # Either one has a single line: the release of before, or the officer's word.
    assert {told["recorded"] for told in of(lives, "reset")} == {1}
