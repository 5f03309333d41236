"""Every role tries every action with its keys, and is believed exactly where the table says so."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.authority_samples import authority
from tests.fakes import COORDINATOR_KEY, NORTH, OFFICER_KEYS, POLICY, RUN, SITE_KEYS, new_key, plan_of
from tests.released_models import MANIFEST

from fed_client.signed_policy import PolicyTerms, sign_policy, verified_policy
from fed_common import signed_fact
from fed_common.accounting import Spend
from fed_common.artefacts.envelope import Signature
from fed_common.audit_log.handed_out import CheckedLog, export_log, read_handed_out
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.checkpoint import sign_manifest
from fed_common.errors import FedError
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.ledger_record import LedgerHead, LedgerRecord
from fed_common.ledger_reset import sign_reset
from fed_common.messages import PlanStatement, seal, unseal
from fed_common.names import Digest, body_digest
from fed_common.pki.certificates import verified_site
from fed_common.pki.enrolment import verified_request
from fed_common.pki.key_folder import KeyFolder
from fed_common.roles import ACTIONS, HOLDS, NEEDS, ROLES, Action, Key, Role, may
from fed_common.signing import SigningKey
from fed_common.withdrawal import PatientWithdrawal, SiteWithdrawal
from fed_server.authority.authority import Authority
from fed_server.registry.admission import Admissions
from fed_server.registry.registry import Registry

CA = authority()
SIGNING: dict[Key, SigningKey] = {
    "coordinator's identity": COORDINATOR_KEY,
    "site's identity": SITE_KEYS[NORTH],
    "officer's key": OFFICER_KEYS[NORTH],
}


@dataclass(frozen=True, kw_only=True)
class Hand:
    """A role with its keys; where it lacks one, it tries with another of its own, or makes one up."""

    role: Role
    folder: Path

    def signing(self, wanted: Key) -> SigningKey:
        held = [SIGNING[key] for key in sorted(HOLDS[self.role]) if key in SIGNING]
        return SIGNING[wanted] if wanted in HOLDS[self.role] else (held or [new_key()])[0]

    @property
    def ca(self) -> Authority:
        return CA if "CA's key" in HOLDS[self.role] else authority()


def certify(hand: Hand) -> None:
    keys = KeyFolder(path=hand.folder / "keys")
    keys.make()
    csr = verified_request(keys.request(NORTH, CA.certificate)).csr
    verified_site(hand.ca.certify_site(NORTH, csr), ca=CA.certificate)


def invite(hand: Hand) -> None:
    mine = Registry(folder=hand.folder / "registry", key=hand.signing("coordinator's identity"))
    Admissions(registry=mine, ca=CA.certificate).invite(NORTH, ttl_s=60.0)
    assert Registry(folder=mine.folder, key=COORDINATOR_KEY).standing(NORTH).state == "invited"


def ask(hand: Hand) -> None:
    statement = PlanStatement(plan=plan_of(), expires=1, body=body_digest(b""), log=EMPTY_LOG)
    message = seal(statement, b"", hand.signing("coordinator's identity"))
    unseal(message, PlanStatement, COORDINATOR_KEY.verifying_key)


def certify_leave(hand: Hand) -> None:
    certificate = SiteWithdrawal(
        federation="play",
        site=NORTH,
        identity=SITE_KEYS[NORTH].verifying_key.fingerprint,
        reason="it moved",
        at=1,
        register=Digest("r"),
        models=(),
    )
    line = signed_fact.sign(certificate, hand.signing("coordinator's identity"))
    signed_fact.verify(line, SiteWithdrawal, COORDINATOR_KEY.verifying_key)


def certify_patients(hand: Hand) -> None:
    certificate = PatientWithdrawal(
        site=NORTH,
        patients=1,
        at=1,
        dataset=Digest("d"),
        erased=(),
        runs=(RUN,),
        ledger=LedgerHead(events=1, digest=Digest("0" * 64)),
    )
    line = signed_fact.sign(certificate, hand.signing("site's identity"))
    signed_fact.verify(line, PatientWithdrawal, SITE_KEYS[NORTH].verifying_key)


def charge(folder: Path, key: SigningKey) -> Path:
    path, spend = folder / "ledger/ledger.jsonl", Spend(noise_multiplier=4.0, sampling_rate=0.5, steps=2)
    officer = OFFICER_KEYS[NORTH].verifying_key.fingerprint
    subject = LedgerSubject(
        site=NORTH, dataset=Digest("d"), unit="patient", officer=officer, policy=Digest("p")
    )
    with PrivacyLedger.held(
        path, witness=folder / "witness", key=key, subject=subject, costliest=spend
    ) as ledger:
        ledger.charge(RUN, 1, "train", spend)
    return path


def answer(hand: Hand) -> None:
    path = charge(hand.folder, hand.signing("site's identity"))
    LedgerRecord.read(path, SITE_KEYS[NORTH].verifying_key)


def cosign(hand: Hand) -> None:
    envelope = sign_manifest(MANIFEST, COORDINATOR_KEY)
    signature = Signature.by(hand.signing("site's identity"), envelope.statement)
    signature.verify(SITE_KEYS[NORTH].verifying_key, envelope.statement)


def sign_terms(hand: Hand) -> None:
    terms = PolicyTerms(
        site=NORTH, images="images", unit="patient", state="state", witness="witness", policy=POLICY
    )
    path, officer = hand.folder / "site.toml.signed", OFFICER_KEYS[NORTH].verifying_key
    sign_policy(terms, hand.signing("officer's key"), path)
    verified_policy(terms, signature=path, officer=officer, state=hand.folder)


def reset(hand: Hand) -> None:
    head = LedgerHead(events=1, digest=Digest("0" * 64))
    opening = sign_reset(hand.signing("officer's key"), site=NORTH, replaces=head, reason="the disk died")
    opening.opened.verify(OFFICER_KEYS[NORTH].verifying_key)


def check(hand: Hand) -> None:
    path = charge(hand.folder, SITE_KEYS[NORTH])
    assert len(LedgerRecord.read(path, SITE_KEYS[NORTH].verifying_key).events) == 1
    copy = export_log(CheckedLog(owner=NORTH, lines=()), SITE_KEYS[NORTH])
    read_handed_out(copy, [SITE_KEYS[NORTH].verifying_key])


ATTEMPTS: dict[Action, Callable[[Hand], None]] = {
    "certify the server and sites": certify,
    "invite, approve and revoke sites": invite,
    "ask sites, publish models": ask,
    "certify that a site left": certify_leave,
    "answer, charge the ledger": answer,
    "co-sign finished models": cosign,
    "certify that patients left": certify_patients,
    "sign what a site allows": sign_terms,
    "begin another budget": reset,
    "check models, ledgers and logs": check,
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_believed_exactly_where_the_table_says_so(
    role: Role, action: Action, tmp_path: Path
) -> None:
    hand = Hand(role=role, folder=tmp_path)
    if may(role, action):
        ATTEMPTS[action](hand)
    else:
        with pytest.raises(FedError):
            ATTEMPTS[action](hand)


def test_an_auditor_holds_nothing_and_nobody_does_another_s_part() -> None:
    assert not HOLDS["auditor"]
    doers = {action: [role for role in ROLES if may(role, action)] for action in ACTIONS if NEEDS[action]}
    assert all(len(roles) == 1 for roles in doers.values())


def test_the_readme_shows_this_table() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    rows = [f"| | {' | '.join(ROLES)} | with |", "|---|" + "---|" * (len(ROLES) + 1)]
    for action in ACTIONS:
        marks = " | ".join("yes" if may(role, action) else "" for role in ROLES)
        rows.append(f"| {action} | {marks} | {', '.join(sorted(NEEDS[action])) or 'public keys'} |")
    table = "\n".join(rows)
    assert table in readme, f"put this into the README:\n{table}"
