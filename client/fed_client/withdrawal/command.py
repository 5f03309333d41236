"""`fed-client data withdraw`: patients withdraw their consent.

It is done in this order; whatever fails, the daemon refuses to start until it is finished:

1. no daemon runs, and the ledger is whole;
2. every patient is found in a version for any task, or withdrew before: a typing error must not pass for a
   withdrawal;
3. the list of who withdrew is written;
4. a new version is registered without them;
5. the pictures of all versions with them, for any task, are deleted, even if 4 failed;
6. the certificate is signed, and its digest written into the audit log.

A PatientID is asked for, not given on the command line, which others on the machine can read.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from fed_client.config import SiteConfig, load_site_config
from fed_client.dataset.source import SiteKeys
from fed_client.dataset.versions import Version, dataset_folders, list_versions, load_version
from fed_client.deidentification import Pseudonym, keyed_digest, normalise
from fed_client.opening import register_configured, site_keys
from fed_client.withdrawal.erasing import erase, holds, patients_of
from fed_client.withdrawal.withdrawn import note_withdrawn, read_withdrawn
from fed_common import signed_fact
from fed_common.audit_log.facts import PatientsWithdrew
from fed_common.audit_log.log import AuditLog
from fed_common.errors import ConfigError, DataError, LedgerError
from fed_common.files import exclusive, write_atomically
from fed_common.ledger import refuse_older_than_witness
from fed_common.ledger_record import LedgerRecord
from fed_common.ledger_reset import replaced_ledgers
from fed_common.names import digest_of
from fed_common.withdrawal import PatientWithdrawal


def withdraw_command(
    out: Annotated[Path, typer.Option(help="A new file for the signed certificate; it names nobody.")],
    patients: Annotated[
        Path | None, typer.Option(help="A file of PatientIDs, one a line, instead of being asked for one.")
    ] = None,
    issuer: Annotated[
        str, typer.Option(help="Who issued the IDs, where the files' headers say so (IssuerOfPatientID).")
    ] = "",
    config: Annotated[Path, typer.Option("--config", help="The site's configuration, site.toml.")] = Path(
        "site.toml"
    ),
) -> None:
    """Take patients out: a new version without them, older ones erased; not while the daemon runs.

    What was spent stays spent, and models that have learnt from them are named in the certificate.
    """
    settings = load_site_config(config)
    if out.exists():
        raise ConfigError(f"{out}: is there already")
    ids = _read(patients) if patients else [typer.prompt("PatientID", hide_input=True)]
    keys = site_keys(settings)
    # However often an ID is spelt, it is one patient.
    withdrawing = list(dict.fromkeys(_pseudonyms(patient_id, issuer, keys.secret) for patient_id in ids))
    with exclusive(settings.ledger.parent, owner="fed-client"):  # 1
        certificate = _withdraw(settings, withdrawing, keys)
        line = signed_fact.sign(certificate, keys.identity)  # 6
        write_atomically(out, line + b"\n")
        fact = PatientsWithdrew(
            patients=len(withdrawing), dataset=certificate.dataset, certificate=digest_of(line)
        )
        AuditLog(settings.audit).write(settings.name, fact)
    typer.echo(f"{len(withdrawing)} patients withdrew; {len(certificate.erased)} versions are erased; {out}")
    named = f" and of {normalise(issuer)}" if issuer else ""
    typer.echo(
        f"looked for: these IDs without an issuer{named}; where a header names another issuer, "
        "the ID is taken for another person's: withdraw it with --issuer, too"
    )
    for run in certificate.runs:
        typer.echo(f"{run} has learnt from them")


def _withdraw(
    settings: SiteConfig, withdrawing: list[frozenset[Pseudonym]], keys: SiteKeys
) -> PatientWithdrawal:
    key = keys.identity.verifying_key
    record = LedgerRecord.read(settings.ledger, key)
    refuse_older_than_witness(record, settings.witness)
    if record.fragment:
        raise LedgerError("the ledger's last line is torn; `fed-client start` mends it")
    everybody = frozenset[Pseudonym]().union(*withdrawing)
    held = [old for old in _versions(settings) if holds(old, everybody, keys.secret)]
    known = read_withdrawn(settings.state, key).union(*(patients_of(v, keys.secret) for v in held))
    missing = sum(not pseudonyms & known for pseudonyms in withdrawing)
    if missing:  # 2
        raise DataError(
            f"{missing} of {len(withdrawing)} patients have no picture here; nothing was changed. "
            "Is the ID right, and its --issuer?"
        )
    note_withdrawn(settings.state, everybody, keys.identity)  # 3, also under names that may come yet
    try:
        version = register_configured(settings)  # 4
    finally:
        for old in held:  # 5
            erase(old)
    # Of versions that were erased before, nobody knows any more who was in them.
    erased = tuple(old.digest for old in _versions(settings) if old.erased)
    events = [event for ledger in _all_ledgers(settings, record) for event in ledger.events]
    return PatientWithdrawal(
        site=settings.name,
        patients=len(withdrawing),
        at=int(time.time()),
        dataset=version.digest,
        erased=erased,
        runs=tuple(dict.fromkeys(event.run for event in events if event.dataset in erased)),
        ledger=record.head,
    )


def _all_ledgers(settings: SiteConfig, record: LedgerRecord) -> list[LedgerRecord]:
    """Return the ledger and those that it replaced; which of these is lost, or another key's, is told."""
    replaced = []
    for path in replaced_ledgers(settings.ledger):
        with suppress(LedgerError):
            replaced.append(LedgerRecord.read(path, settings.signing_key.verifying_key))
    for opening in (ledger.opening for ledger in (*replaced, record)):
        if opening is not None and not any(old.contains(opening.opened.reset.replaces) for old in replaced):
            typer.echo(
                f"the ledger of {opening.opened.reset.replaces.events} lines that a reset has replaced can't "
                "be read: runs that it alone names aren't in the certificate"
            )
    return [*replaced, record]


def _versions(settings: SiteConfig) -> Iterator[Version]:
    """Yield all versions, for whichever task."""
    key = settings.signing_key.verifying_key
    for folder in dataset_folders(settings.state):
        yield from (load_version(folder, number, key) for number in list_versions(folder))


def _pseudonyms(patient_id: str, issuer: str, secret: bytes) -> frozenset[Pseudonym]:
    """Return the pseudonyms that one patient may have, as `deidentify` makes them."""
    named = normalise(patient_id)
    if not named:
        raise ConfigError("a PatientID must not be empty")
    issuers = {"", normalise(issuer)}
    return frozenset(Pseudonym(keyed_digest(secret, "patient", named, who)) for who in issuers)


def _read(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as text") from error
    ids = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not ids:
        raise ConfigError(f"{path}: names nobody")
    return ids
