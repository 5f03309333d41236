"""In a real run each side writes down the other's heads, and after a crash the logs still agree."""

from pathlib import Path

import pytest
from tests.fakes import SITES, log_in
from tests.server.runs import Crash, CrashAt, new_run, real_sites

from fed_common.audit_log.comparison import contradictions, heads_seen, plans
from fed_common.audit_log.facts import CosignatureGiven, JournalWritten, PlanAccepted
from fed_common.audit_log.handed_out import CheckedLog


def test_coordinator_and_sites_agree_after_a_run_with_a_crash(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with real_sites(run, tmp_path):
        with pytest.raises(Crash):
            run.start(observer=CrashAt(5))
        run.start()
    coordinator = CheckedLog(owner="coordinator", lines=run.log.read())
    sites = [CheckedLog(owner=site, lines=log_in(tmp_path / site).read()) for site in SITES]
    assert not list(contradictions(coordinator, *sites))
    for site in sites:
        assert len(plans(site)) == 3  # two rounds, and the evaluation after the second
        # What it was asked, the last time with a log that has grown since.
        assert len(set(heads_seen(site, of="coordinator"))) >= 3
        assert len(set(heads_seen(coordinator, of=site.owner))) >= 3
        assert isinstance(site.lines[-1].fact, CosignatureGiven)
    assert sum(isinstance(line.fact, PlanAccepted) for line in sites[0].lines) > 3, "it was asked again"
    logged = [line.fact.line for line in coordinator.lines if isinstance(line.fact, JournalWritten)]
    assert tuple(logged) == run.folder.journal.digests()
