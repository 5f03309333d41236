"""The coordinator's own word of how far a site's ledger had come, kept at the site.

Every plan carries, signed, the heads that the coordinator has seen. The newest such header stays on disk, in
another place than ledger and witness: restored together from an older backup, these two would agree.
"""

from dataclasses import dataclass
from pathlib import Path

from fed_client.config import SiteConfig
from fed_common import signed_fact
from fed_common.errors import LedgerError, MalformedMessageError, TrustError
from fed_common.files import write_atomically
from fed_common.ledger_record import LedgerHead, LedgerRecord
from fed_common.messages import PlanStatement, header_of
from fed_common.names import SiteName
from fed_common.signing import VerifyingKey


@dataclass(frozen=True, kw_only=True)
class Countersignature:
    """The newest signed header in which `coordinator` states this site's head; one file per coordinator."""

    folder: Path
    site: SiteName
    coordinator: VerifyingKey

    def keep(self, statement: PlanStatement, message: bytes) -> None:
        """Keep the header of a verified plan, if its statement of the head is another and newer one.

        Raises:
            MachineError: it can't be written.
        """
        head = self._head(statement)
        last = self._read()
        if head is None or (last and (head == self._head(last) or statement.expires <= last.expires)):
            return
        write_atomically(self._path, header_of(message))

    def head(self) -> LedgerHead | None:
        """Return the head that was countersigned last, None where none was.

        Raises:
            LedgerError: what was kept is damaged.
        """
        last = self._read()
        return self._head(last) if last else None

    def refuse_older(self, record: LedgerRecord) -> None:
        """Return only if the ledger holds all that the coordinator has seen.

        Raises:
            LedgerError: it doesn't.
        """
        head = self.head()
        if head is not None and not record.contains(head):
            raise LedgerError(
                f"the ledger is missing or older than the coordinator has seen it: {head.events} events "
                f"(found {record.head.events}); restore it, or have the privacy officer reset it"
            )

    def forget(self) -> None:
        """Forget the head of a ledger that the officer has put aside."""
        self._path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.coordinator.fingerprint[:16]}.signed"

    def _head(self, statement: PlanStatement) -> LedgerHead | None:
        witnessed = statement.plan.witnessed
        return next((seen.head for seen in witnessed if seen.site == self.site), None)

    def _read(self) -> PlanStatement | None:
        try:
            return signed_fact.verify(self._path.read_bytes(), PlanStatement, self.coordinator)
        except FileNotFoundError:
            return None
        except (OSError, MalformedMessageError, TrustError) as error:
            raise LedgerError(
                f"{self._path}: damaged, not the coordinator's, or of another version of this program; "
                "have the privacy officer reset the ledger, naming its --head"
            ) from error


def countersignature_of(config: SiteConfig) -> Countersignature:
    """Return where the coordinator's word of this site's ledger is kept.

    Raises:
        TrustError: the coordinator's public key can't be used.
    """
    coordinator = VerifyingKey.load(config.coordinator)
    return Countersignature(folder=config.state / "countersigned", site=config.name, coordinator=coordinator)
