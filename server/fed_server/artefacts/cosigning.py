"""Has the sites co-sign the finished model, and puts it beside the report with all signatures that came.

A site that is away, or refuses, is named in the journal; how many must have signed is for the release to say,
and for whoever uses the model.
"""

import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

from fed_common import canonical, signed_fact
from fed_common import checkpoint as checkpoints
from fed_common.artefacts.cosigning import CosignAnswer, CosignRequest, seal_request
from fed_common.artefacts.envelope import Envelope, Signature
from fed_common.checkpoint import Manifest
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.names import SiteName, digest_of
from fed_server.exchange import Answer, NoAnswer, Question
from fed_server.journal import ModelCosigned, Unsigned
from fed_server.rounds import Coordinator
from fed_server.run_folder import RunFolder
from fed_server.screening import MAX_DETAIL
from fed_server.settings import RunSettings

_POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Cosigning:
    """Asks the cohort for signatures; for those that aren't connected it waits as before a run."""

    coordinator: Coordinator
    settings: RunSettings

    def present(self, folder: RunFolder, *, tell: Callable[[ModelCosigned], None]) -> ModelCosigned:
        """Put the last checkpoint beside the report, with all signatures; return what is told of them.

        Raises:
            TrustError: the checkpoint isn't the coordinator's.
            MachineError: it can't be written.
        """
        folder.journal.mend()
        last = checkpoints.latest(folder.checkpoints)
        if last is None:
            raise TrustError(f"{folder.path}: holds no checkpoint")
        manifest = checkpoints.load_manifest(last, self.coordinator.key.verifying_key)
        envelope = checkpoints.load_envelope(folder.path if folder.finished else last)
        signed = self._signed_before(envelope)
        unsigned: list[Unsigned] = []
        for site, answer in self._ask(envelope, manifest, but=signed):
            if isinstance(answer, Unsigned):
                unsigned.append(answer)
            else:
                envelope = envelope.and_signed([answer])
                signed.add(site)
        folder.present_result(envelope)
        told = ModelCosigned(
            round=manifest.round,
            manifest=canonical.digest(manifest),
            sites=tuple(sorted(signed)),
            unsigned=tuple(sorted(unsigned, key=lambda missing: missing.site)),
        )
        tell(told)
        return told

    def _signed_before(self, envelope: Envelope) -> set[SiteName]:
        """Return whose signatures hold; who has got another key since is asked again."""
        keys = self.coordinator.site_keys
        signers = envelope.signers(keys.values())
        return {site for site, key in keys.items() if key.fingerprint in signers}

    def _ask(
        self, envelope: Envelope, manifest: Manifest, *, but: Set[SiteName]
    ) -> Iterator[tuple[SiteName, Signature | Unsigned]]:
        coordinator = self.coordinator
        sites = tuple(site.name for site in self.settings.cohort if site.name not in but)
        if not sites:
            return
        self._wait_for_all()
        request = CosignRequest(
            statement=envelope.statement.decode("ascii"),
            expires=int(time.time() + coordinator.deadline_s) + 1,
        )
        question = Question(
            run=manifest.run,
            round=manifest.round,
            phase="evaluate",
            sites=sites,
            parts=(seal_request(request, coordinator.key),),
            deadline_s=coordinator.deadline_s,
        )
        heard: set[SiteName] = set()
        for answer in coordinator.exchange.ask(question):
            if answer.site not in heard:
                heard.add(answer.site)
                yield answer.site, self._read(answer, envelope)

    def _wait_for_all(self) -> None:
        give_up = time.monotonic() + self.settings.quorum.gather_s
        cohort = {site.name for site in self.settings.cohort}
        while not self.coordinator.exchange.online() >= cohort and time.monotonic() < give_up:
            time.sleep(_POLL_S)

    def _read(self, answer: Answer | NoAnswer, envelope: Envelope) -> Signature | Unsigned:
        """Return a site's signature, if it is one of this statement by this very site."""
        if isinstance(answer, NoAnswer):
            return Unsigned(site=answer.site, code=answer.reason, detail="")
        key = self.coordinator.site_keys.get(answer.site)
        if key is None:
            return Unsigned(site=answer.site, code="not-enrolled", detail="")
        try:
            told = signed_fact.verify(answer.payload, CosignAnswer, key)
            if (told.site, told.statement) != (answer.site, digest_of(envelope.statement)):
                raise TrustError("it answers for another site or model")
            if told.signature is not None and told.signature.keyid == key.fingerprint:
                told.signature.verify(key, envelope.statement)
                return told.signature
        except (TrustError, MalformedMessageError) as error:
            return Unsigned(site=answer.site, code="untrusted", detail=str(error))
        refusal = told.refusal
        if refusal is None:
            return Unsigned(site=answer.site, code="untrusted", detail="neither a signature nor a reason")
        return Unsigned(site=answer.site, code=refusal.code, detail=refusal.detail[:MAX_DETAIL])
