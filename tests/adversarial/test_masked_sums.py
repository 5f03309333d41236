"""A coordinator that cheats gets no site's update: attacks are refused, and work where the check is off."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.fakes import POLICY, new_key
from tests.masked_sessions import (
    RING,
    SESSION,
    Courier,
    MaskedRound,
    elements,
    expected_sum,
    key_of,
    masked_plan,
    masking_of,
    names,
    taking,
    update_of,
)

from fed_client.masking.admission import refuse_masking
from fed_client.masking.party import Confirmed, Dealt
from fed_client.policy import PolicyRefusal
from fed_common import canonical
from fed_common.errors import ConfigError, FedError, MalformedMessageError, TrustError
from fed_common.masking.keys import SessionSecrets, pair_mask, public_hex
from fed_common.masking.ring import apply_masks
from fed_common.masking.statements import (
    Advertisement,
    Confirmation,
    Dealing,
    Revelation,
    Survivors,
    join_lines,
    read_lines,
    sign_line,
)
from fed_common.messages import RoundPlan
from fed_common.names import SiteName, digest_of
from fed_common.signing import SigningKey
from fed_server.masking.unmasking import restore_mask_key, restore_seed

A, B, C, D, E = names(5)
PLAN = masked_plan(3)


def advertisement(
    site: SiteName,
    *,
    plan: RoundPlan = PLAN,
    session: str = SESSION,
    secrets: SessionSecrets | None = None,
    key: SigningKey | None = None,
) -> bytes:
    secrets = secrets or SessionSecrets()
    fact = Advertisement(
        site=site,
        plan=plan.digest,
        session=session,
        sealing_key=public_hex(secrets.sealing_key),
        mask_key=public_hex(secrets.mask_key),
        self_seed=digest_of(secrets.self_seed),
    )
    return sign_line(fact, key or key_of(site))


def low_order(site: SiteName) -> bytes:
    fact = Advertisement(
        site=site,
        plan=PLAN.digest,
        session=SESSION,
        sealing_key="00" * 32,
        mask_key=public_hex(X25519PrivateKey.generate()),
        self_seed=digest_of(b""),
    )
    return sign_line(fact, key_of(site))


SAME, NEXT = SessionSecrets(), masked_plan(3, number=2)
ROSTERS: list[tuple[str, list[bytes], str]] = [
    ("a key in the middle", [advertisement(B, key=new_key()), advertisement(C)], "signature"),
    ("a sybil", [advertisement(B), advertisement(C), advertisement(D)], "no member"),
    (
        "in another's name",
        [advertisement(B), b"site-2 " + advertisement(B, key=key_of(C))[7:]],
        "in the name",
    ),
    ("two of three", [advertisement(B)], "at least 3"),
    ("one site twice", [advertisement(B), advertisement(B), advertisement(C)], "twice"),
    ("keys of another session", [advertisement(B), advertisement(C, session="00")], "another plan"),
    ("keys of another round", [advertisement(B), advertisement(C, plan=NEXT)], "another plan"),
    ("the same keys twice", [advertisement(B, secrets=SAME), advertisement(C, secrets=SAME)], "the same"),
    ("a point of low order", [advertisement(B), low_order(C)], "guessable"),
    ("no list", [b"garbage"], "no member"),
]


@pytest.mark.parametrize(("lines", "why"), [row[1:] for row in ROSTERS], ids=[row[0] for row in ROSTERS])
def test_a_roster_that_is_not_of_known_sites_and_fresh_keys_gets_no_share(
    lines: list[bytes], why: str
) -> None:
    """Faults 81, 84, 85 and T3: sybils, a key in the middle, replayed and shared keys."""
    own, state = Courier(PLAN).party(A).advertise()
    with pytest.raises(FedError, match=why):
        state.share(join_lines([own, *lines]))


def test_a_roster_with_other_keys_for_this_site_gets_no_share() -> None:
    _, state = Courier(PLAN).party(A).advertise()
    with pytest.raises(TrustError, match="its own"):
        state.share(join_lines([advertisement(A), advertisement(B), advertisement(C)]))


def test_a_site_asks_for_more_company_than_the_plan_if_its_policy_does() -> None:
    """Fault 82: the threshold and the minimum are the site's own arithmetic, not the coordinator's."""
    courier = Courier(PLAN, minimum=4)
    lines, states = courier.advertise()
    with pytest.raises(TrustError, match="at least 4"):
        states[A].share(join_lines(lines.values()))


def test_a_masked_sum_of_two_can_not_even_be_planned() -> None:
    """Fault 83."""
    with pytest.raises(ConfigError, match="at least 3"):
        masking_of((A, B))


def masked_by(dealt: Dealt, dealings: list[bytes]) -> str:
    """Return why the site masks nothing."""
    with pytest.raises(FedError) as refused:
        dealt.mask(join_lines(dealings), lambda: pytest.fail("the update was taken"))
    return str(refused.value)


def test_sites_that_were_shown_different_rosters_mask_nothing() -> None:
    """Faults 20 and 87: C has two sessions' worth of keys, and A and B are each shown another one."""
    courier = Courier(PLAN)
    lines, states = courier.advertise()
    other_c, state_c = courier.party(C).advertise()
    to_a, dealt_a = states[A].share(join_lines(lines.values()))
    to_b, dealt_b = states[B].share(join_lines([lines[A], lines[B], other_c]))
    from_c, _ = state_c.share(join_lines([lines[A], lines[B], other_c]))
    assert "signed another roster" in masked_by(dealt_a, [to_a, to_b, from_c])
    assert "signed another roster" in masked_by(dealt_b, [to_a, to_b, from_c])


def test_a_tampered_withheld_or_foreign_dealing_is_refused_before_the_update_is_taken() -> None:
    """Fault 86, and replay of an earlier session's shares."""
    _, dealings, dealt = Courier(PLAN).share()
    _, earlier, _ = Courier(PLAN, session="00").share()
    keys = {site: key_of(site).verifying_key for site in names(3)}
    of_b = read_lines(dealings[B], Dealing, keys)[B]
    shares = tuple(replace(share, sealed=_flipped(share.sealed)) for share in of_b.shares)
    tampered = sign_line(replace(of_b, shares=shares), key_of(B))
    for_nobody = sign_line(replace(of_b, shares=()), key_of(B))
    assert "altered" in masked_by(dealt[A], [dealings[A], tampered, dealings[C]])
    assert "altered" in masked_by(dealt[A], [dealings[A], for_nobody, dealings[C]])
    assert "another roster" in masked_by(dealt[A], [dealings[A], earlier[B], dealings[C]])
    assert "signature" in masked_by(dealt[A], [dealings[A], _flipped_line(dealings[B]), dealings[C]])


def _flipped(text: str) -> str:
    return f"{int(text[-1], 16) ^ 1:x}".join((text[:-1], ""))


def _flipped_line(line: bytes) -> bytes:
    return line.replace(b'"sealed":"', b'"sealed":"0', 1)


PLAN_OF_FIVE = masked_plan(5)


@pytest.fixture(scope="module")
def five() -> MaskedRound:
    """A and three others have masked; E has not."""
    return Courier(PLAN_OF_FIVE).mask([A, B, C, D])


EVE = SiteName("eve")
LISTS = [
    ("A is alive and dropped", (A, B, C, D), (A, E), "both alive and dropped"),
    ("E is in neither", (A, B, C, D), (), "together the roster"),
    ("a stranger is alive", (A, B, C, D, EVE), (E,), "together the roster"),
    ("three of five", (A, B, C), (D, E), "3 of 5 are alive, 4 must be"),
    ("A alone", (A,), (B, C, D, E), "1 of 5"),
    ("A is said to have dropped", (B, C, D, E), (A,), "said to have dropped"),
    ("one is named twice", (A, B, C, D, D), (E,), "named twice"),
]


@pytest.mark.parametrize(
    ("alive", "dropped", "why"), [row[1:] for row in LISTS], ids=[row[0] for row in LISTS]
)
def test_survivors_that_would_single_a_site_out_are_not_confirmed(
    five: MaskedRound, alive: tuple[SiteName, ...], dropped: tuple[SiteName, ...], why: str
) -> None:
    """Faults 79, 81 and 82."""
    told = Survivors(roster=five.roster.digest, alive=alive, dropped=dropped)
    with pytest.raises(TrustError, match=why):
        five.states[A].confirm(canonical.encode(told))


def test_survivors_of_another_roster_are_not_confirmed(five: MaskedRound) -> None:
    with pytest.raises(TrustError, match="another roster"):
        five.states[A].confirm(canonical.encode(replace(five.survivors, roster=digest_of(b""))))
    with pytest.raises(MalformedMessageError):
        five.states[A].confirm(b"garbage")


def test_survivors_need_the_word_of_a_threshold_of_members(five: MaskedRound) -> None:
    lines, confirmed = five.confirm()
    other = replace(five.survivors, alive=(A, B, C, E), dropped=(D,))
    another_list = sign_line(Confirmation(site=D, survivors=other), key_of(D))
    forged = sign_line(Confirmation(site=D, survivors=five.survivors), new_key())
    for fourth, why in (
        ([], "3 members"),
        ([another_list], "3 members"),
        ([lines[C]], "twice"),
        ([forged], "signature"),
    ):
        with pytest.raises(FedError, match=why):
            confirmed[A].unmask(join_lines([lines[A], lines[B], lines[C], *fourth]))


def revealed(masked: MaskedRound, states: dict[SiteName, Confirmed]) -> dict[SiteName, Revelation]:
    body = join_lines(
        sign_line(Confirmation(site=site, survivors=state.survivors), key_of(site))
        for site, state in states.items()
    )
    keys = {site: key_of(site).verifying_key for site in masked.roster.members}
    return read_lines(join_lines(state.unmask(body) for state in states.values()), Revelation, keys)


def test_with_both_lists_signed_the_coordinator_reads_a_sites_update() -> None:
    """What the single confirmation prevents: states that skip it reveal A's seed and A's mask key."""
    masked = Courier(PLAN_OF_FIVE).mask()
    honest, lie = (
        Survivors(roster=masked.roster.digest, alive=(A, B, C, D, E), dropped=()),
        Survivors(roster=masked.roster.digest, alive=(B, C, D, E), dropped=(A,)),
    )
    once, again = (
        revealed(masked, {s: Confirmed(masked=masked.states[s], survivors=told) for s in (B, C, D, E)})
        for told in (honest, lie)
    )
    seed = restore_seed(A, masked.roster, {m: one.self_seeds for m, one in once.items()})
    key = restore_mask_key(A, masked.roster, {m: one.mask_keys for m, one in again.items()})
    vector_P = elements(masked.vectors[A]).copy()
    masks = [
        pair_mask(key, masked.roster.members[s].mask_key, roster=masked.roster.digest, pair=frozenset((A, s)))
        for s in (B, C, D, E)
    ]
    apply_masks(vector_P, added=[], removed=[seed, *masks])
    assert np.array_equal(RING.signed(vector_P), 3 * update_of(A))

    # An honest site signs one list; for the other one, nobody finds the word of four members.
    lines, confirmed = masked.confirm()
    for_the_lie = [sign_line(Confirmation(site=A, survivors=lie), key_of(A)), lines[B], lines[C], lines[D]]
    with pytest.raises(TrustError, match="3 members confirmed"):
        confirmed[B].unmask(join_lines(for_the_lie))


def test_a_sum_less_one_site_would_be_that_sites_update() -> None:
    """T3, the same round again with n-1 sites: why an update is masked once (`test_masked_site`)."""
    plan, smaller = masked_plan(4), masked_plan(4)
    everybody = Courier(plan, session="11" * 16).mask().unmask()
    lines_of_three = [A, B, C]
    courier = Courier(smaller, session="22" * 16)
    lines, states = courier.advertise(lines_of_three)
    told = {site: states[site].share(join_lines(lines.values())) for site in lines_of_three}
    body = join_lines(line for line, _ in told.values())
    vectors = {s: told[s][1].mask(body, taking(s)) for s in lines_of_three}
    again = MaskedRound(
        roster=courier.roster(lines),
        vectors={site: vector for site, (vector, _) in vectors.items()},
        states={site: state for site, (_, state) in vectors.items()},
        ring=RING,
    )
    assert np.array_equal(everybody - again.unmask(), expected_sum(plan, [D]))


def test_among_keys_of_the_coordinators_own_a_sum_is_one_sites_update() -> None:
    """Faults 84 and 85: who holds both others' keys subtracts them; `policy.peers` knows neither."""
    total, invented = Courier(PLAN).mask().unmask(), (B, C)
    assert np.array_equal(total - expected_sum(PLAN, invented), expected_sum(PLAN, [A]))

    fingerprints = {site: key_of(site).verifying_key.spoken for site in names(5)}
    own = key_of(A).verifying_key
    with pytest.raises(PolicyRefusal, match="not in policy") as refused:
        refuse_masking(PLAN, replace(POLICY, peers=(fingerprints[D], fingerprints[E])), site=A, key=own)
    assert refused.value.code == "peer-unknown"
    refuse_masking(PLAN, replace(POLICY, peers=(fingerprints[B], fingerprints[C])), site=A, key=own)
