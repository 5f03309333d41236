"""The benchmark of simulators names who is absent, and judges by what it has measured."""

import sys

import pytest

from fed_sim.bench.simulate.measure import (
    BLAZEFL,
    FLOWER,
    OPACUS,
    OURS,
    OURS_PRIVATE,
    PLAIN,
    WAYS,
    Case,
    Measured,
    Way,
    fastest,
    measure,
)
from fed_sim.bench.simulate.verdicts import verdicts

TINY = Case(sites=2, training=2, rounds=2)
LOOP = Way(name=PLAIN, program="plain_loop")


def test_a_peer_that_is_not_installed_is_named_with_the_reason() -> None:
    peer = Way(name="peer", program="plain_loop", needs=("json", "no_such_library"))

    (row,) = measure([TINY], [peer], pythons=[sys.executable])

    assert row.absent == "not installed: no_such_library"


def test_a_program_that_fails_has_no_figures() -> None:
    (row,) = measure([TINY], [Way(name="peer", program="no_such_program")], pythons=[sys.executable])

    assert row.absent == "ended with 1 after 0 of 2 rounds"


@pytest.mark.slow
def test_a_program_is_timed_and_weighed_with_the_interpreter_that_has_what_it_needs() -> None:
    (row,) = measure([TINY], [LOOP], pythons=["/bin/false", sys.executable])

    assert not row.absent
    assert row.site_ms > 0 and row.site_cpu_ms > 0 and row.start_s > 0 and row.peak_mb > 50


@pytest.mark.slow
def test_ours_trains_the_same_sites_private_and_not() -> None:
    ours = [way for way in WAYS if way.name in (OURS, OURS_PRIVATE)]

    rows = list(measure([TINY], ours, pythons=[sys.executable]))

    assert [row.absent for row in rows] == ["", ""]


def test_each_promise_is_held_against_its_own_peer() -> None:
    times_ms = {FLOWER: 30.0, BLAZEFL: 14.0, OURS: 10.0, OPACUS: 29.0, OURS_PRIVATE: 15.0}
    rows = [_row(way, site_ms) for way, site_ms in times_ms.items()]

    found = {verdict.promise: (round(verdict.found, 2), verdict.met) for verdict in verdicts(rows)}

    assert found == {
        "100 of 100: x Flower's speed": (3.0, True),
        "100 of 100: x BlazeFL's speed": (1.4, False),
        "100 of 100: x the Opacus loop's speed, private": (1.93, False),
        "MB at most": (500.0, True),
    }


def test_sites_that_do_not_train_must_cost_nothing() -> None:
    rows = [_row(OURS, 10.0), _row(OURS, 10.5, sites=1000, training=1000), _row(OURS, 12.0, sites=1000)]

    found = {verdict.promise: verdict.met for verdict in verdicts(rows)}

    assert found["a site's time among 1,000, to that among 100"]
    assert not found["a site's time with 900 that don't train, to none"]


def test_nothing_is_promised_about_an_absent_peer() -> None:
    absent = Measured(way=FLOWER, sites=100, training=100, absent="not installed: ray")

    assert not [v for v in verdicts([absent, _row(OURS, 1.0)]) if "Flower" in v.promise]


def _row(way: str, site_ms: float, *, sites: int = 100, training: int = 100) -> Measured:
    return Measured(way=way, sites=sites, training=training, site_ms=site_ms, start_s=3.0, peak_mb=500.0)


def test_of_several_calls_the_least_times_and_the_most_memory_count() -> None:
    def call(site_ms: float, start_s: float, peak_mb: float) -> Measured:
        return Measured(
            way=OURS,
            sites=10,
            training=10,
            site_ms=site_ms,
            site_cpu_ms=2 * site_ms,
            start_s=start_s,
            peak_mb=peak_mb,
        )

    found = fastest([call(9.0, 4.0, 300.0), call(8.0, 5.0, 200.0)])

    assert found == call(8.0, 4.0, 300.0)


def test_of_several_calls_one_that_failed_counts() -> None:
    failed = Measured(way=OURS, sites=10, training=10, absent="ended with 1 after 0 of 2 rounds")
    good = Measured(way=OURS, sites=10, training=10, site_ms=1, site_cpu_ms=1, start_s=1, peak_mb=1)
    assert fastest([good, failed]) == failed
