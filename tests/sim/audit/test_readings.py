"""An audit passes what is shipped, time after time, and finds each planted fault by the right reading."""

import pytest

from fed_sim.audit.auditing import audited
from fed_sim.audit.faults import FAULTS
from fed_sim.audit.hospital import SiteParts

HONEST_RUNS = 10

# What must find it; the same fault may show in other readings too.
FOUND_BY = {
    "noise missing": {"noise", "epsilon"},
    "half the noise": {"noise", "epsilon"},
    "0.9 of the noise": {"noise"},
    "noise divided twice": {"noise", "epsilon"},
    "the same noise in every step": {"noise"},
    "everybody in every step": {"sampling"},
    "clipping missing": {"sensitivity", "epsilon"},
    "clipping per batch": {"sensitivity"},
    "ledger reset each round": {"epsilon"},
    "patient as record": {"sensitivity"},
}


@pytest.mark.slow
@pytest.mark.parametrize("run", range(HONEST_RUNS))
def test_what_is_shipped_passes(run: int) -> None:
    verdict = audited(SiteParts())

    assert verdict.failed == ()
    # A bound that is next to nothing would hold for whatever is claimed.
    assert verdict.readings.epsilon.measured > verdict.claimed.epsilon / 2


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    verdict = audited(FAULTS[fault])

    assert FOUND_BY[fault] <= {what.partition(":")[0] for what in verdict.failed}
