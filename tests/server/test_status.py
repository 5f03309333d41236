"""`fed-server status` tells of every site what it did last and what it has spent, at any time of a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from click.testing import Result
from tests.fakes import NORTH, OFFICER_KEYS, TRAIN
from tests.server.journal_samples import (
    FINISHED,
    HARBOUR,
    HILLSIDE,
    LAKEVIEW,
    OLD_TOWN,
    RIVERBANK,
    STARTED,
    UNFINISHED,
    answered,
    privacy_of,
)
from typer.testing import CliRunner

from fed_common.errors import ConfigError
from fed_common.ledger_reset import sign_reset
from fed_common.tightening import Tightened
from fed_server.cli import app
from fed_server.journal import Journal, RunEvent, TimedEvent
from fed_server.status import RunStatus, SiteStatus, status_of


def status(events: tuple[RunEvent, ...]) -> RunStatus:
    found = status_of([TimedEvent(at=1000 + place, event=event) for place, event in enumerate(events)])
    assert found is not None
    return found


def site(found: RunStatus, name: str) -> SiteStatus:
    return next(one for one in found.sites if one.site == name)


def test_a_finished_run_says_what_became_of_each_site() -> None:
    found = status(FINISHED)
    assert (found.published, found.rounds, found.finished) == (12, 12, True)
    last = {one.site: (one.last.verdict, one.last.codes) for one in found.sites if one.last}
    assert last[HARBOUR] == ("accepted", ())
    assert last[OLD_TOWN] == ("refused", ("budget-exhausted",))
    assert last[RIVERBANK] == ("failed", ("offline",))


def test_a_running_round_says_how_many_have_answered() -> None:
    found = status(UNFINISHED)
    assert found.asked is not None and (found.asked.round, found.asked.phase) == (6, "train")
    assert (found.published, found.answered, found.finished) == (5, 1, False)


def test_a_refusal_does_not_hide_what_was_spent_before() -> None:
    stated = site(status(FINISHED), OLD_TOWN).privacy
    assert stated is not None and stated.releases == 11
    assert site(status(FINISHED), RIVERBANK).privacy is None


def test_tightened_terms_and_resets_are_shown() -> None:
    reset = sign_reset(
        OFFICER_KEYS[NORTH], site=HARBOUR, replaces=privacy_of(HARBOUR, 9).ledger, reason="a new year"
    ).opened
    stricter = Tightened(terms=TRAIN, codes=("steps-above-ceiling",))
    event = answered(1, HARBOUR)
    anew = replace(event, tightened=stricter, privacy=replace(event.privacy, reset=reset))
    shown = site(status((STARTED, anew, anew)), HARBOUR)
    assert shown.last is not None
    assert (shown.last.verdict, shown.last.codes) == ("tightened", ("steps-above-ceiling",))
    assert shown.resets == (reset.reset,)


def shown(folder: Path, events: tuple[RunEvent, ...], *options: str) -> Result:
    """Write a run's journal and return what the command prints of it."""
    journal = Journal(folder / "runs" / STARTED.run / "journal.jsonl")
    journal.path.parent.mkdir(parents=True)
    for event in events:
        journal.write(event)
    (folder / "runs" / "current").write_text(f"{STARTED.run}\n")
    config = folder / "federation.toml"
    config.write_text(tomli_w.dumps(FEDERATION))
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["status", *options, "--config", str(config)])


FEDERATION = {
    "federation": {"name": "chest-pilot", "task": "task.toml", "runs": "runs"},
    "server": dict.fromkeys(("host", "ca", "certificate", "key", "identity"), "none") | {"port": 1},
    "sites": [{"name": "harbour", "patients": 100}],
    "quorum": {"sites": 1},
    "training": {"rounds": 12, "steps_per_round": 1, "learning_rate": 0.1},
    "privacy": {"epsilon": 4.0, "sampling_rate": 0.1},
}


@pytest.mark.parametrize("events", [UNFINISHED, FINISHED])
def test_the_table_never_shows_a_bare_epsilon(tmp_path: Path, events: tuple[RunEvent, ...]) -> None:
    printed = " ".join(shown(tmp_path, events).output.replace("│", " ").split())
    assert f"{STARTED.run}: " in printed
    for word in ("accepted", "delta 1e-05 per patient", "releases", "max of dp-accounting PLD", "; ledger "):
        assert word in printed
    assert printed.count("epsilon ") >= printed.count(" at delta")
    for name in (HILLSIDE, LAKEVIEW, RIVERBANK):
        assert name in printed


def test_a_site_whose_files_stand_for_patients_is_shown_as_such(tmp_path: Path) -> None:
    event = answered(1, HARBOUR)
    by_file = replace(event, privacy=replace(event.privacy, unit="image file"))
    printed = " ".join(shown(tmp_path, (STARTED, by_file)).output.replace("│", " ").split())
    assert "delta 1e-05 per image file" in printed


def test_json_has_the_whole_statement(tmp_path: Path) -> None:
    found = json.loads(shown(tmp_path, FINISHED, "--json").output)
    harbour = found["sites"][0]
    assert harbour["privacy"]["ledger"]["events"] == harbour["privacy"]["releases"] == 16
    assert (harbour["last"]["verdict"], harbour["last"]["round"]) == ("accepted", 12)


def test_a_run_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert isinstance(shown(tmp_path, FINISHED, "other-run").exception, ConfigError)
