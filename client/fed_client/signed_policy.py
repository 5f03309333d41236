"""The officer's signature over what a hospital allows: without it, whoever edits site.toml owns the budget.

What is signed are the limits, and which patients they are about: the site's name, its images, whether a
file may stand for a patient, and where their ledger and its witness are kept. The signature is a file beside
site.toml, made with `fed-client policy sign`. It is accepted in this order:

1. it is there, and of the key that site.toml names as the officer's;
2. the key is the one that this site has known since its first start, and the signature not an older one;
3. it is about what site.toml says now.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fed_client.policy import SitePolicy
from fed_common import canonical, signed_fact
from fed_common.errors import MalformedMessageError, PrivacyError, TrustError
from fed_common.files import write_atomically
from fed_common.ledger_record import Unit
from fed_common.names import Digest, SiteName
from fed_common.signing import SigningKey, VerifyingKey

_KNOWN_FILE = "officer.json"


@dataclass(frozen=True, kw_only=True)
class PolicyTerms:
    """What an officer vouches for; the paths are as site.toml has them, so that a whole site can move."""

    site: SiteName
    images: str
    unit: Unit
    state: str
    witness: str
    policy: SitePolicy

    @property
    def digest(self) -> Digest:
        """Identify the terms; each ledger line names those it was charged under."""
        return canonical.digest(self)


@dataclass(frozen=True, kw_only=True)
class PolicyStatement:
    """The signed fact."""

    terms: PolicyTerms
    signed: int


@dataclass(frozen=True, kw_only=True)
class KnownOfficer:
    """Whose signature a site accepts, and when the newest one was made."""

    officer: Digest
    signed: int


def signature_file(site_file: Path) -> Path:
    """Return where the signature of a site.toml is."""
    return site_file.with_name(f"{site_file.name}.signed")


def sign_policy(terms: PolicyTerms, officer: SigningKey, path: Path) -> None:
    """Write the officer's signature to `path`.

    Raises:
        MachineError: it can't be written.
    """
    statement = PolicyStatement(terms=terms, signed=int(time.time()))
    write_atomically(path, signed_fact.sign(statement, officer) + b"\n")


def verified_policy(
    terms: PolicyTerms, *, signature: Path, officer: VerifyingKey, state: Path
) -> PolicyStatement:
    """Return the officer's statement, if it vouches for `terms`.

    Raises:
        PrivacyError: it doesn't; the message says what to run.
    """
    to_do = f"the privacy officer runs `fed-client policy sign --config {signature.stem} --key officer.key`"
    try:
        line = signature.read_bytes().removesuffix(b"\n")  # 1
    except OSError as error:
        raise PrivacyError(f"{signature}: the policy is not signed; {to_do}") from error
    try:
        statement = signed_fact.verify(line, PolicyStatement, officer)
    except (MalformedMessageError, TrustError) as error:
        raise PrivacyError(f"{signature}: not the officer's signature of a policy; {to_do}") from error
    known = known_officer(state)  # 2
    if known is not None and known.officer != officer.fingerprint:
        raise PrivacyError(
            f"the officer's key is not the one that this site knows ({known.officer[:16]}); "
            "that one hands over with `fed-client policy hand-over`"
        )
    if known is not None and statement.signed < known.signed:
        raise PrivacyError(f"{signature}: older than the policy last in force; {to_do}")
    if changed := _differences(statement.terms, terms):  # 3
        raise PrivacyError(f"changed since the privacy officer signed: {', '.join(changed)}; {to_do}")
    return statement


def remember_officer(state: Path, officer: Digest, *, signed: int) -> None:
    """Accept no other officer's signature from now on, and none older than `signed`.

    Raises:
        MachineError: it can't be written.
    """
    known = KnownOfficer(officer=officer, signed=signed)
    if known != known_officer(state):
        write_atomically(state / _KNOWN_FILE, canonical.encode(known))


def known_officer(state: Path) -> KnownOfficer | None:
    """Return whose signature the site accepts, None before its first start.

    Raises:
        PrivacyError: what was noted is damaged.
    """
    path = state / _KNOWN_FILE
    try:
        return canonical.decode(path.read_bytes(), KnownOfficer)
    except FileNotFoundError:
        return None
    except (OSError, MalformedMessageError) as error:
        raise PrivacyError(f"{path}: unreadable; restore it from backup") from error


def _differences(signed: PolicyTerms, now: PolicyTerms) -> list[str]:
    before, after = asdict(signed), asdict(now)
    limits_before, limits_after = before.pop("policy"), after.pop("policy")
    changed = [name for name in after if before[name] != after[name]]
    return changed + [f"policy.{n}" for n in limits_after if limits_before[n] != limits_after[n]]
