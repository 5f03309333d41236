"""A verdict is what its figures say, and nothing is released on a failed one or on no ground at all."""

from dataclasses import replace

import pytest
from tests.audit_verdicts import FAILED, FAILS, HOLDS, PASSED

from fed_common import canonical
from fed_common.audit import Attack, AuditVerdict, Release, installed_libraries
from fed_common.errors import ConfigError, PrivacyError
from fed_common.metrics import Estimate


def test_a_verdict_is_read_back() -> None:
    assert canonical.decode(canonical.encode(PASSED), AuditVerdict) == PASSED


@pytest.mark.parametrize("name", ["sensitivity", "sampling", "noise", "epsilon"])
def test_one_figure_out_of_its_bounds_fails_the_audit(name: str) -> None:
    assert not PASSED.failed
    assert replace(PASSED, readings=replace(PASSED.readings, **{name: FAILS})).failed == (FAILS.what,)


@pytest.mark.parametrize(
    ("on", "off", "holds"), [(0.5, 0.9, True), (0.5, 0.55, False), (0.7, 0.9, False), (0.6, 0.9, True)]
)
def test_an_attack_must_fail_with_privacy_and_succeed_without(on: float, off: float, holds: bool) -> None:
    protected, unprotected = (Estimate(value=low + 0.1, low=low, high=1.0) for low in (on, off))
    attack = Attack(what="guessing", protected=protected, unprotected=unprotected, limit=0.6)

    assert attack.holds == holds
    assert replace(PASSED, attacks=(attack,)).failed == (() if holds else ("guessing",))


def test_bounds_themselves_are_allowed_and_what_is_no_number_is_refused() -> None:
    assert replace(HOLDS, measured=HOLDS.low).holds
    assert not replace(HOLDS, measured=1.1000001).holds
    with pytest.raises(PrivacyError, match="no figure"):
        replace(HOLDS, measured=float("nan"))


def test_nothing_is_released_on_a_failed_audit() -> None:
    with pytest.raises(PrivacyError, match="noise: too small"):
        Release(audit=FAILED, without_audit="")


@pytest.mark.parametrize(("audit", "reason"), [(None, ""), (None, "  "), (PASSED, "no time")])
def test_a_release_has_exactly_one_ground(audit: AuditVerdict | None, reason: str) -> None:
    with pytest.raises(ConfigError):
        Release(audit=audit, without_audit=reason)


def test_the_libraries_are_those_that_are_installed() -> None:
    versions = {library.name: library.version for library in installed_libraries()}
    assert versions["opacus"] == "1.6.0"
    assert versions["python"].startswith("3.")
