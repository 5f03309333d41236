"""What is certified to who leaves: what was ended, and which models have learnt from them already.

A certificate is a signed fact: of a site by the coordinator, of patients by their site. It names no patient.
"""

from dataclasses import dataclass
from typing import Literal

from fed_common.ledger_record import LedgerHead
from fed_common.names import Digest, RunId, SiteName


@dataclass(frozen=True, kw_only=True)
class ModelUsed:
    """A run whose model a site is part of: in so many rounds, or by the parameters that the run began with.

    `releases` are the numbers under which the model was published.
    """

    run: RunId
    rounds: int
    first: int
    last: int
    releases: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SiteWithdrawal:
    """The coordinator's word that a site is asked nothing any more; `register` is the last line about it."""

    version: Literal[1] = 1
    federation: str
    site: SiteName
    identity: Digest
    reason: str
    at: int
    register: Digest
    models: tuple[ModelUsed, ...]


@dataclass(frozen=True, kw_only=True)
class PatientWithdrawal:
    """The site's word that patients are trained on no more, from the data set `dataset` on.

    The pictures of `erased`, earlier versions that held them, are deleted; `runs` have learnt from one of
    these. What was spent stays spent: the ledger had come to `ledger`.
    """

    version: Literal[1] = 1
    site: SiteName
    patients: int
    at: int
    dataset: Digest
    erased: tuple[Digest, ...]
    runs: tuple[RunId, ...]
    ledger: LedgerHead
