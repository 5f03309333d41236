"""Lets a finished run's model go: only with a passed audit of the code that made it, or a written reason.

Without this, an audit would be a paper that nobody has to read before a model reaches a patient. The folder
of a released model holds the model, the manifest with everybody's signatures, and the release.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fed_common import canonical
from fed_common import checkpoint as checkpoints
from fed_common.artefacts.envelope import Envelope
from fed_common.artefacts.model_release import RELEASE_FILE, ModelRelease
from fed_common.artefacts.statement import encode_statement
from fed_common.audit import AuditVerdict, Release
from fed_common.audit_log.head import LogHead
from fed_common.checkpoint import MANIFEST_FILE, MODEL_FILE
from fed_common.errors import ConfigError, PrivacyError, QuorumError
from fed_common.files import write_atomically
from fed_common.models import ModelSpec
from fed_common.names import SiteName, digest_of
from fed_common.signing import SigningKey, VerifyingKey
from fed_server.journal import ModelReleased, RunEvent, RunStarted, SiteAnswered
from fed_server.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class ReleaseTerms:
    """On what ground a model is let go, until when, and how many sites must have co-signed it.

    Without a number, more than half of the sites must have. `log` is the head of the coordinator's audit log.
    """

    ground: Release
    expires: int
    log: LogHead
    cosigners: int | None = None


def release_model(
    folder: RunFolder,
    spec: ModelSpec,
    terms: ReleaseTerms,
    *,
    key: SigningKey,
    site_keys: Mapping[SiteName, VerifyingKey],
    out: Path,
) -> ModelRelease:
    """Return the release in the new folder `out`; its number is one more than that of the last one.

    Raises:
        ConfigError: the run isn't finished, or `out` holds a model already.
        PrivacyError: the audit is about other code than a site's in this run.
        QuorumError: too few sites co-signed the model.
        TrustError: the run's model isn't the coordinator's.
    """
    if not folder.finished:
        raise ConfigError(f"run {folder.run} is not finished; its model can be published when it is")
    if (out / MANIFEST_FILE).exists():
        raise ConfigError(f"{out}: holds a published model already; choose another folder")
    folder.journal.mend()
    finished = checkpoints.load(folder.path, spec, key.verifying_key)
    events = folder.journal.read()
    started = next(event for event in events if isinstance(event, RunStarted))
    if terms.ground.audit is not None:
        _refuse_other_code(terms.ground.audit, events)
    needed = len(started.sites) // 2 + 1 if terms.cosigners is None else terms.cosigners
    manifest = checkpoints.load_envelope(folder.path)
    signers = manifest.signers(site_keys.values())
    if len(signers) < needed:
        raise QuorumError(
            f"co-signed by {len(signers)} of {len(started.sites)} sites, {needed} must; "
            "`fed-server cosign` asks again"
        )
    release = ModelRelease(
        federation=started.name,
        number=_last_number(folder.root, started.name) + 1,
        run=folder.run,
        manifest=digest_of(manifest.encode()),
        expires=terms.expires,
        ground=terms.ground,
        log=terms.log,
    )
    statement = encode_statement(release, subject=finished.manifest.file)
    write_atomically(out / MODEL_FILE, (folder.path / MODEL_FILE).read_bytes())
    write_atomically(out / MANIFEST_FILE, manifest.encode())
    # The journal first: a number that is told of is never given to another model.
    folder.journal.write(
        ModelReleased(number=release.number, expires=release.expires, release=release.ground)
    )
    # The release comes last: without it, the folder holds no model that was let go.
    write_atomically(out / RELEASE_FILE, Envelope.seal(statement, key).encode())
    return release


def load_audit(path: Path) -> AuditVerdict:
    """Return the verdict that `fed-sim audit` wrote.

    Raises:
        ConfigError: there is no such file.
        MalformedMessageError: it holds something else.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    return canonical.decode(raw.removesuffix(b"\n"), AuditVerdict)


def _last_number(root: Path, federation: str) -> int:
    """Return the number of the federation's last release in any of its runs, 0 before the first."""
    last = 0
    for folder in RunFolder.all_in(root):
        events = folder.journal.read()
        if any(isinstance(event, RunStarted) and event.name == federation for event in events):
            last = max([last, *(event.number for event in events if isinstance(event, ModelReleased))])
    return last


def _refuse_other_code(audit: AuditVerdict, events: Iterable[RunEvent]) -> None:
    """Return only if every answer of the run was made by the code that was audited."""
    for event in events:
        if isinstance(event, SiteAnswered) and event.privacy.code != audit.code:
            raise PrivacyError(
                f"the audit is of code {audit.code[:12]}, but {event.site} answered with code "
                f"{event.privacy.code[:12]}: audit that release, or give a reason --without-audit"
            )
