"""The one way to a released model that may be used: each file is believed by the word of the one before it.

The order and the rules are those of The Update Framework, for three files:

1. the root of trust, which its user has by another way;
2. `release.json`: signed by the coordinator, about this federation, not expired, and not older than one that
   was accepted before, nor another one of the same number;
3. `manifest.json`: the very file that the release names, signed by the coordinator and by as many of the
   sites as the root demands; signatures of strangers count for nothing;
4. `model.safetensors`: the file that the manifest names, for this task, strictly of its form.

Source: https://theupdateframework.github.io/specification/v1.0.33/#detailed-client-workflow
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from fed_common import canonical
from fed_common.artefacts.envelope import Envelope
from fed_common.artefacts.model_release import ModelRelease
from fed_common.artefacts.root import ModelRoot
from fed_common.artefacts.statement import decode_statement
from fed_common.checkpoint import Checkpoint, Manifest, checkpoint_of
from fed_common.errors import TrustError
from fed_common.models import spec_for
from fed_common.names import Digest, digest_of
from fed_common.task import Task


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The last release that was accepted; an older one is refused from then on."""

    federation: str
    number: int
    release: Digest


class TrustedModelSet:
    """The files of one released model, taken in one after the other; `now` is in seconds since 1970."""

    def __init__(self, root: ModelRoot, *, task: Task, last: Accepted | None, now: float) -> None:
        self._root = root  # 1
        self._task = task
        self._last = last
        self._now = now
        self._release: ModelRelease | None = None
        self._manifest: Manifest | None = None

    @property
    def release(self) -> ModelRelease:
        """Return the trusted release.

        Raises:
            RuntimeError: there is none yet.
        """
        if self._release is None:
            raise RuntimeError("the release comes first")
        return self._release

    @property
    def manifest(self) -> Manifest:
        """Return the trusted manifest.

        Raises:
            RuntimeError: there is none yet.
        """
        if self._manifest is None:
            raise RuntimeError("the manifest comes before the model")
        return self._manifest

    def update_release(self, raw: bytes) -> ModelRelease:
        """Trust a release (step 2).

        Raises:
            TrustError: it must not be trusted; nothing is.
            MalformedMessageError: it is none.
        """
        envelope = Envelope.read(raw)
        envelope.refuse_unsigned(self._root.coordinator_key)
        subject, release = decode_statement(envelope.statement, ModelRelease)
        if release.federation != self._root.federation:
            raise TrustError(f"a model of {release.federation[:50]}, trusted is {self._root.federation}")
        self._refuse_older(release)
        if not self._now < release.expires:
            day = datetime.fromtimestamp(release.expires, tz=UTC).date()
            raise TrustError(f"release {release.number} expired on {day}; ask for a newer one")
        self._subject = subject
        self._release = release
        return release

    def update_manifest(self, raw: bytes) -> Manifest:
        """Trust the manifest that the release names (step 3).

        Raises:
            TrustError: it must not be trusted.
            MalformedMessageError: it is none.
            RuntimeError: no release is trusted yet.
        """
        release = self.release
        envelope = Envelope.read(raw)
        envelope.refuse_unsigned(self._root.coordinator_key)
        signers = envelope.signers(self._root.site_keys.values())
        if len(signers) < self._root.threshold:
            raise TrustError(f"{len(signers)} sites signed the model, {self._root.threshold} must")
        subject, manifest = decode_statement(envelope.statement, Manifest)
        if (digest_of(raw), subject) != (release.manifest, self._subject):
            raise TrustError("not the manifest that the release names")
        if subject != manifest.file:
            raise TrustError("the manifest is about another file than it names")
        if not manifest.is_about(self._task):
            raise TrustError("the model was trained for another task, or its classes are said to be others")
        self._manifest = manifest
        return manifest

    def load_model(self, contents: bytes) -> Checkpoint:
        """Return the model in the file that the manifest names (step 4).

        Raises:
            TrustError: it is another file.
            MalformedMessageError: the file has another form than the task's network.
            RuntimeError: no manifest is trusted yet.
        """
        return checkpoint_of(self.manifest, contents, spec_for(self._task))

    @property
    def accepted(self) -> Accepted:
        """Return what to remember once the model was loaded."""
        release = self.release
        return Accepted(
            federation=release.federation, number=release.number, release=canonical.digest(release)
        )

    def _refuse_older(self, release: ModelRelease) -> None:
        last = self._last
        if last is None:
            return
        if last.federation != release.federation:
            raise TrustError(
                f"the memory is of releases of {last.federation[:50]}: take one for each federation"
            )
        if release.number < last.number:
            raise TrustError(f"release {release.number} is older than {last.number}, accepted before")
        if release.number == last.number and canonical.digest(release) != last.release:
            raise TrustError(f"another release {release.number} than the one that was accepted before")
