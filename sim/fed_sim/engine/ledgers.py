"""The privacy ledgers of virtual sites: the service's own, charged for a whole round before anybody trains.

Each line is as a hospital's ledger would have it, and as durable. Only who waits for the disk is different: a
hospital for each of its lines, here a whole round once, because file systems sync together what many threads
want synced at the same time.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from fed_client.policy import SitePolicy
from fed_common.accounting import Accountant, Spend, charged_epsilon, merge
from fed_common.errors import MachineError
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.names import Digest, RunId, SiteName, digest_of
from fed_common.signing import SigningKey

_THREADS = 16


@dataclass(kw_only=True)
class VirtualLedgers:
    """One ledger for each site that has trained; a round costs `spend`. Who uses it holds `folder`.

    One key signs for all sites, and for their privacy officers: it is one machine that plays them.
    """

    folder: Path
    key: SigningKey
    policy: SitePolicy
    spend: Spend
    accountants: Sequence[Accountant]
    data: Digest
    _opened: dict[int, PrivacyLedger] = field(default_factory=dict)

    def charge(self, run: RunId, number: int, sites: Sequence[int]) -> None:
        """Charge round `number` to each of `sites` that hasn't paid for it; then their data may be touched.

        Who has paid and not trained, because a crash came between, trains now: what had been computed was
        lost with its process, so that nothing is released twice.

        Raises:
            PolicyRefusal: a site's budget is exhausted; nobody was charged.
            LedgerError: a ledger was altered.
            MachineError: a ledger can't be written.
        """
        unpaid = [ledger for ledger in map(self._ledger, sites) if not ledger.charged(run, number, "train")]
        for spent, unit in dict.fromkeys((ledger.spends, ledger.unit) for ledger in unpaid):
            self.policy.check_budget(spent, [self.spend], self.accountants, unit=unit)
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(lambda ledger: ledger.charge(run, number, "train", self.spend), unpaid))

    def largest_epsilon(self, sites: Iterable[int]) -> float:
        """Return what the one of `sites` has spent that has spent most, over all starts of the run.

        Raises:
            LedgerError: a ledger was altered.
            MachineError: a ledger can't be opened.
        """
        spent = {merge(self._ledger(site).spends) for site in sites}
        # A part of another history has spent no more than the whole, and needn't be composed.
        whole = [some for some in spent if not any(_is_part(some, of=other) for other in spent - {some})]
        return max(charged_epsilon(spends, self.policy.delta, self.accountants) for spends in whole)

    def _ledger(self, site: int) -> PrivacyLedger:
        if site not in self._opened:
            name = SiteName(f"site-{site}")
            folder = self.folder / name
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MachineError(f"{folder}: can't be made ({error.strerror})") from error
            self._opened[site] = PrivacyLedger.opened(
                folder / "ledger.jsonl",
                witness=folder / "ledger.witness",
                key=self.key,
                subject=LedgerSubject(
                    site=name,
                    dataset=digest_of(f"{self.data}/{site}".encode()),
                    unit="patient",
                    officer=self.key.verifying_key.fingerprint,
                    policy=self.policy.digest,
                ),
                costliest=self.policy.costliest_round(),
            )
        return self._opened[site]


def _is_part(some: Sequence[Spend], *, of: Sequence[Spend]) -> bool:
    """Tell whether each mechanism of the one merged history took no more steps than in the other."""
    steps = {replace(spend, steps=1): spend.steps for spend in of}
    return all(spend.steps <= steps.get(replace(spend, steps=1), 0) for spend in some)
