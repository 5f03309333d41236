"""A ledger that isn't the one seen before is left out and named, unless the site's officer has reset it."""

from dataclasses import replace

import numpy as np
import pytest
from tests.fakes import EAST, NORTH, OFFICER_KEYS, new_key, privacy_of

from fed_common import fixedpoint
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.checkpoint import SitePrivacy
from fed_common.ledger_record import LedgerHead, SignedReset
from fed_common.ledger_reset import sign_reset
from fed_common.messages import PrivacyStatement
from fed_common.names import SiteName, digest_of
from fed_common.signing import SigningKey
from fed_server.continuity import Continuity
from fed_server.screening import Contribution, SiteFailure, SiteReply

OFFICER = OFFICER_KEYS[NORTH]
SEEN = privacy_of(events=5)


def reply(privacy: PrivacyStatement) -> Contribution:
    values = fixedpoint.to_fixed(np.zeros(1))
    return Contribution(
        site=NORTH, values=values, noise_multiplier=1.0, tightened=None, privacy=privacy, log=EMPTY_LOG
    )


def knowing(*statements: PrivacyStatement) -> Continuity:
    officers = {NORTH: OFFICER.verifying_key}
    return Continuity(officers, [SitePrivacy(site=NORTH, privacy=stated) for stated in statements])


def reset_of(
    replaces: LedgerHead = SEEN.ledger, *, site: SiteName = NORTH, officer: SigningKey = OFFICER
) -> SignedReset:
    return sign_reset(officer, site=site, replaces=replaces, reason="the disk died").opened


def after(reset: SignedReset | None, *, events: int = 2) -> PrivacyStatement:
    head = LedgerHead(events=events, digest=digest_of(b"new %d" % events))
    return replace(privacy_of(), ledger=head, reset=reset)


def code_of(checked: SiteReply) -> str | None:
    return checked.code if isinstance(checked, SiteFailure) else None


def test_a_growing_ledger_and_bytes_sent_again_pass() -> None:
    continuity = knowing()
    for events in (1, 2, 2, 5, 2):
        assert code_of(continuity.check(reply(privacy_of(events=events)))) is None


def test_two_ledgers_of_the_same_length_are_a_fork() -> None:
    continuity = knowing(SEEN)
    other = replace(SEEN, ledger=LedgerHead(events=5, digest=digest_of(b"restored")))
    assert code_of(continuity.check(reply(other))) == "ledger-forked"
    assert code_of(continuity.check(reply(SEEN))) is None


def test_a_reset_that_names_the_last_head_begins_a_new_chain() -> None:
    continuity = knowing(privacy_of(events=4), SEEN)
    reset = reset_of()
    assert code_of(continuity.check(reply(after(reset, events=2)))) is None
    assert code_of(continuity.check(reply(after(reset, events=3)))) is None
    assert code_of(continuity.check(reply(SEEN))) == "ledger-forked"  # the old ledger is over


@pytest.mark.parametrize(
    "reset",
    [
        reset_of(privacy_of(events=4).ledger),  # not the last head seen
        reset_of(LedgerHead(events=5, digest=digest_of(b"another"))),
        reset_of(officer=new_key()),
        reset_of(site=EAST),
    ],
)
def test_any_other_reset_is_refused(reset: SignedReset) -> None:
    continuity = knowing(privacy_of(events=4), SEEN)
    assert code_of(continuity.check(reply(after(reset)))) == "reset-refused"
    assert code_of(continuity.check(reply(SEEN))) is None


def test_without_an_enrolled_officer_no_reset_is_accepted() -> None:
    continuity = Continuity({}, [SitePrivacy(site=NORTH, privacy=SEEN)])
    checked = continuity.check(reply(after(reset_of())))
    assert isinstance(checked, SiteFailure) and "no officer's key is enrolled" in checked.detail


def test_what_was_learnt_before_a_restart_is_known_after_it() -> None:
    reset = reset_of()
    restarted = knowing(SEEN, after(reset))
    assert code_of(restarted.check(reply(after(reset, events=3)))) is None
    assert code_of(restarted.check(reply(after(reset_of(after(reset, events=3).ledger), events=1)))) is None
