"""A new run knows what the sites stated in the one before, and a crash keeps no published round secret."""

from pathlib import Path

import pytest
from tests.fakes import COORDINATOR_SIGNS, new_key
from tests.server.runs import Run

from fed_common.errors import TrustError
from fed_server.journal import RoundPublished
from fed_server.run_folder import RunFolder


def test_a_new_run_inherits_the_heads_of_the_one_before(tmp_path: Path) -> None:
    first = RunFolder.begin(tmp_path, "play")
    stated = Run(first).start().manifest.sites
    second = RunFolder.begin(tmp_path, "play")
    third = RunFolder.begin(tmp_path, "play")  # the second never published anything

    assert stated
    assert first.inherited(COORDINATOR_SIGNS) == ()
    assert second.inherited(COORDINATOR_SIGNS) == third.inherited(COORDINATOR_SIGNS) == stated
    with pytest.raises(TrustError):
        second.inherited(new_key().verifying_key)


def test_a_round_that_a_crash_kept_out_of_the_journal_is_told_after_it(tmp_path: Path) -> None:
    run = Run(RunFolder.begin(tmp_path, "play"))
    last = run.start()
    journal = run.folder.journal.path
    lines = journal.read_bytes().splitlines(keepends=True)
    cut = next(
        index for index, line in enumerate(lines) if b'"RoundPublished"' in line and b'"round":2' in line
    )
    journal.write_bytes(b"".join(lines[:cut]))

    run.start()

    published = [event for event in run.folder.journal.read() if isinstance(event, RoundPublished)]
    assert [event.round for event in published] == [1, 2]
    assert published[-1].checkpoint == last.digest
