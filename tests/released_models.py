"""A released model without a run: its three files, co-signed by any sites, and the root that trusts them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tests.audit_verdicts import PASSED
from tests.fakes import COORDINATOR_KEY, COORDINATOR_SIGNS, FIRST_P, MODEL, RUN, SITE_KEYS, SITES, TASK, TRAIN

from fed_common.artefacts.envelope import Envelope, Signature
from fed_common.artefacts.model_release import RELEASE_FILE, ModelRelease
from fed_common.artefacts.participation import SiteRounds
from fed_common.artefacts.root import ModelRoot, SiteKey
from fed_common.artefacts.statement import encode_statement
from fed_common.audit import Release
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.checkpoint import (
    FIRST,
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
    encode_model,
    parameter_bytes,
    sign_manifest,
)
from fed_common.names import Digest, SiteName, body_digest, digest_of
from fed_common.signing import SigningKey

NOW = 1_800_000_000
YEAR_S = 365 * 86400
MODEL_BYTES = encode_model(FIRST_P, MODEL)
SITE_SIGNS = {site: key.verifying_key for site, key in SITE_KEYS.items()}
ROOT = ModelRoot(
    federation="play",
    coordinator=COORDINATOR_SIGNS.hex,
    sites=tuple(SiteKey(site=site, identity=SITE_SIGNS[site].hex) for site in SITES),
    threshold=2,
)
MANIFEST = Manifest(
    run=RUN,
    round=9,
    rounds=9,
    settings=Digest("s"),
    task=TASK.digest,
    classes=TASK.classes,
    positive=TASK.positive,
    multi_label=TASK.multi_label,
    model=MODEL.fingerprint,
    parameters=body_digest(parameter_bytes(FIRST_P)),
    file=digest_of(MODEL_BYTES),
    terms=TRAIN,
    sites=(),
    trained=tuple(SiteRounds(site=site, rounds=9, first=1, last=9) for site in sorted(SITES)),
    test=None,
    previous=FIRST,
)


def manifest_of(model: bytes) -> Manifest:
    return replace(MANIFEST, file=digest_of(model))


def cosigned(
    manifest: Manifest = MANIFEST,
    *,
    sites: Iterable[SiteName] = SITES,
    key: SigningKey = COORDINATOR_KEY,
    strangers: Iterable[SigningKey] = (),
) -> bytes:
    envelope = sign_manifest(manifest, key)
    keys = [*(SITE_KEYS[site] for site in sites), *strangers]
    return envelope.and_signed(Signature.by(each, envelope.statement) for each in keys).encode()


def release_of(
    manifest: Manifest = MANIFEST,
    *,
    number: int = 1,
    expires: int = NOW + YEAR_S,
    file: bytes | None = None,
) -> ModelRelease:
    """Return the release of a manifest that all sites have co-signed, or of its `file` as it is."""
    return ModelRelease(
        federation="play",
        number=number,
        run=manifest.run,
        manifest=digest_of(cosigned(manifest) if file is None else file),
        expires=expires,
        ground=Release(audit=PASSED, without_audit=""),
        log=EMPTY_LOG,
    )


def sealed_release(
    release: ModelRelease, *, file: Digest = MANIFEST.file, key: SigningKey = COORDINATOR_KEY
) -> bytes:
    return Envelope.seal(encode_statement(release, subject=file), key).encode()


def write_released(
    folder: Path,
    *,
    release: bytes | None = None,
    manifest: bytes | None = None,
    model: bytes = MODEL_BYTES,
) -> Path:
    """Write a released model; what isn't given is right."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RELEASE_FILE).write_bytes(sealed_release(release_of()) if release is None else release)
    (folder / MANIFEST_FILE).write_bytes(cosigned() if manifest is None else manifest)
    (folder / MODEL_FILE).write_bytes(model)
    return folder
