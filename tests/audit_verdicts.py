"""Verdicts of audits that a test decides."""

from dataclasses import replace

from tests.fakes import CODE, DP, MODEL, privacy_of

from fed_common.audit import AuditVerdict, CanaryReadings, Library, Reading

HOLDS = Reading(what="a figure: in its bounds", measured=1.0, low=0.9, high=1.1, false_alarm=1e-4)
FAILS = replace(HOLDS, what="noise: too small", measured=0.5)
PASSED = AuditVerdict(
    date="2026-11-25",
    code=CODE,
    libraries=(Library(name="torch", version="2.13.0"),),
    model=MODEL.fingerprint,
    terms=DP,
    rounds=2,
    canaries=2304,
    claimed=privacy_of(),
    readings=CanaryReadings(sensitivity=HOLDS, sampling=HOLDS, noise=HOLDS, epsilon=HOLDS),
    attacks=(),
)
FAILED = replace(PASSED, readings=replace(PASSED.readings, noise=FAILS))
