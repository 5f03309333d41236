"""What the coordinator sees: the same lines on a terminal and in a log, and nothing that a site can forge."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tests.server.journal_samples import (
    FINISHED,
    HARBOUR,
    HILLSIDE,
    OLD_TOWN,
    SITES,
    STARTED,
    UNFINISHED,
    answered,
    failed,
    privacy_of,
    published,
    usual_round,
)

from fed_common.errors import MachineError
from fed_common.vote import Rollback
from fed_server.console import ConsoleObserver, JsonObserver
from fed_server.journal import (
    CandidateDropped,
    Journal,
    PhaseAsked,
    RunEvent,
    RunResumed,
    SiteAnswered,
    SumAbandoned,
)


def shown(events: Iterable[RunEvent], *, past: Sequence[RunEvent] = (), terminal: bool = False) -> str:
    screen = StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100)
    with ConsoleObserver(console, past=past) as observer:
        for event in events:
            observer(event)
    return screen.getvalue()


def test_a_log_file_holds_only_whole_plain_lines() -> None:
    log = shown(FINISHED)

    assert log.endswith("finished: 12 rounds published\n")
    assert all(line.isprintable() and line == line.rstrip() for line in log.splitlines())
    assert len(re.findall(r"^round \d+/12 ", log, re.MULTILINE)) == 12


def test_a_rollback_is_told_with_its_reason() -> None:
    rollback = Rollback(to=3, worse=(HARBOUR, HILLSIDE))
    assert shown([CandidateDropped(round=6, rollback=rollback, federated=())]) == (
        "round 6: rolled back to round 3, at harbour, hillside its AUC was lower than after round 3\n"
    )


def test_the_header_tells_what_runs() -> None:
    assert shown([STARTED]) == (
        "chest-pilot-3fa94c1e  pneumonia-chest  5 sites  12 rounds  noise 1.172  "
        "epsilon at most 4 at delta 1e-05 per patient\n"
    )


def test_a_published_round_is_one_line_with_figures_and_their_uncertainty() -> None:
    log = shown([STARTED, *usual_round(3)])

    assert log.splitlines()[-1] == (
        "round 3/12  43.1 s  4/5 sites  test AUC 0.768 [0.738, 0.798]  accuracy 0.698  loss 0.482  "
        "at the sites AUC 0.748 [0.698, 0.798]  epsilon up to 1.98 at delta 1e-05 per patient  "
        "about 6 min left"
    )


def test_the_most_exposed_site_is_the_one_shown() -> None:
    much, little = privacy_of(HARBOUR, 9), privacy_of(HILLSIDE, 1)
    answers = [
        SiteAnswered(round=1, phase="train", site=HARBOUR, privacy=much),
        SiteAnswered(round=1, phase="train", site=HILLSIDE, privacy=little),
    ]

    assert f"epsilon up to {much.epsilon:.2f} at delta" in shown([STARTED, *answers, published(1)])


def test_one_site_whose_files_stand_for_patients_is_enough_to_promise_patients_nothing() -> None:
    answers = [
        SiteAnswered(round=1, phase="train", site=HARBOUR, privacy=privacy_of(HARBOUR, 9)),
        SiteAnswered(
            round=1, phase="train", site=HILLSIDE, privacy=replace(privacy_of(HILLSIDE, 1), unit="image file")
        ),
    ]

    assert "at delta 1e-05 per image file" in shown([STARTED, *answers, published(1)])


def test_a_failure_is_one_line_with_its_reason() -> None:
    log = shown([STARTED, failed(4, OLD_TOWN, "budget-exhausted", "epsilon would be 3.62")])

    assert log.splitlines()[-1] == "round 4 train: old-town budget-exhausted: epsilon would be 3.62"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_site_can_neither_forge_a_line_nor_move_the_cursor(terminal: bool) -> None:
    hostile = "\x1b[2J\x9b2Jboom\r\nfinished: 12 rounds published [bold]now[/bold]\u202e" + "x" * 10_000

    output = shown([STARTED, failed(1, HARBOUR, "training-failed", hostile)], terminal=terminal)

    assert "\x1b[2J" not in output
    assert not {"\x9b", "\u202e"} & set(output)
    assert "\nfinished" not in output
    assert "?[2J?2Jboom??finished: 12 rounds published [bold]now[/bold]?" in output
    assert len(output) < 2_000


def test_a_resumed_run_is_shown_with_what_was_known_before() -> None:
    log = shown([RunResumed(round=5), *usual_round(6)], past=UNFINISHED).splitlines()

    assert log[0].startswith("chest-pilot-3fa94c1e  pneumonia-chest  5 sites  12 rounds")
    assert log[1] == "resumed after round 5"
    # Six rounds took 40.5 s on average, and six are left.
    assert log[-1].startswith("round 6/12  41.4 s  4/5 sites")
    assert log[-1].endswith("about 4 min left")


def test_a_repeated_question_is_told() -> None:
    assert "round 3 train: asked again, attempt 2\n" in shown(FINISHED)


def test_a_terminal_shows_the_phase_and_who_has_answered_until_the_end() -> None:
    asked = PhaseAsked(round=1, phase="train", attempt=1)

    screen = shown([STARTED, asked, *(answered(1, site) for site in SITES[:2])], terminal=True)

    assert "round 1 train: harbour, hillside answered" in screen
    assert screen.endswith("\x1b[2K")  # the bar is wiped away


def test_an_error_leaves_the_terminal_usable() -> None:
    screen = StringIO()
    observer = ConsoleObserver(Console(file=screen, force_terminal=True, width=100))

    with pytest.raises(MachineError), observer:
        observer(STARTED)
        raise MachineError("the port is taken")

    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l")  # cursor is back


def test_json_lines_are_those_of_the_journal(tmp_path: Path) -> None:
    stream = StringIO()
    with JsonObserver(stream) as observer:
        for event in FINISHED:
            observer(event)

    journal = Journal(tmp_path / "journal.jsonl")
    journal.path.write_text(stream.getvalue())
    assert journal.read() == FINISHED


def test_a_reader_that_went_away_is_the_operators_matter() -> None:
    class Gone(StringIO):
        def flush(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(MachineError, match="Broken pipe"):
        JsonObserver(Gone())(STARTED)


def test_a_masked_run_and_an_abandoned_sum_are_told() -> None:
    text = shown(
        [replace(STARTED, masked=True), SumAbandoned(round=3, reason="2 sites masked their updates")]
    )
    assert "per patient  masked sums" in text
    assert "round 3: abandoned, 2 sites masked their updates" in text
    assert "masked" not in shown([STARTED])
