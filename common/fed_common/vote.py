"""What the sites found of a candidate, as facts of a manifest: a vote that can't be proved later is none.

A site's figure comes of the noised counts that it releases anyway, so a vote costs no privacy.
"""

from dataclasses import dataclass

from fed_common.metrics import Estimate
from fed_common.names import SiteName


@dataclass(frozen=True, kw_only=True)
class SiteAuc:
    """One site's area under the ROC curve on its own validation patients, noise included in the interval."""

    site: SiteName
    auc: Estimate


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The last candidate that most sites measured and let stand.

    `aucs` are what each site found of it or, if it was away, of the last one that stood and that it measured.
    """

    round: int
    aucs: tuple[SiteAuc, ...]


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """A candidate was dropped that the sites `worse` found worse; the parameters are those of round `to`."""

    to: int
    worse: tuple[SiteName, ...]
