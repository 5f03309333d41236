"""Lets a finished run's model go: only with a passed audit of the code that made it, or a written reason.

Without this, an audit would be a paper that nobody has to read before a model reaches a patient.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fed_common import canonical, signed_fact
from fed_common import checkpoint as checkpoints
from fed_common.audit import AuditVerdict, Release
from fed_common.checkpoint import MANIFEST_FILE, MODEL_FILE, Manifest
from fed_common.errors import ConfigError, PrivacyError
from fed_common.files import write_atomically
from fed_common.models import ModelSpec
from fed_common.signing import SigningKey
from fed_server.journal import ModelReleased, RunEvent, SiteAnswered
from fed_server.run_folder import RunFolder


def release_model(
    folder: RunFolder, spec: ModelSpec, release: Release, *, key: SigningKey, out: Path
) -> Manifest:
    """Return the manifest in the new folder `out`, whose `release` says why the model was let go.

    Raises:
        ConfigError: the run isn't finished, or `out` holds a model already.
        PrivacyError: the audit is about other code than a site's in this run.
        TrustError: the run's model isn't the coordinator's.
    """
    if not folder.finished:
        raise ConfigError(f"run {folder.run} is not finished; its model can be published when it is")
    if (out / MANIFEST_FILE).exists():
        raise ConfigError(f"{out}: holds a published model already; choose another folder")
    finished = checkpoints.load(folder.path, spec, key.verifying_key)
    events = folder.journal.read()
    if release.audit is not None:
        _refuse_other_code(release.audit, events)
    manifest = replace(finished.manifest, release=release)
    # The manifest comes last: without it, the folder holds no model that anybody vouches for.
    write_atomically(out / MODEL_FILE, (folder.path / MODEL_FILE).read_bytes())
    write_atomically(out / MANIFEST_FILE, signed_fact.sign(manifest, key))
    folder.journal.write(ModelReleased(release=release))
    return manifest


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


def _refuse_other_code(audit: AuditVerdict, events: Iterable[RunEvent]) -> None:
    """Return only if every answer of the run was made by the code that was audited."""
    for event in events:
        if isinstance(event, SiteAnswered) and event.privacy.code != audit.code:
            raise PrivacyError(
                f"the audit is of code {audit.code[:12]}, but {event.site} answered with code "
                f"{event.privacy.code[:12]}: audit that release, or give a reason --without-audit"
            )
