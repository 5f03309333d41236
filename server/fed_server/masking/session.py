"""One session of a masked round: agree on a roster, mask, and unmask the survivors' sum.

1. Gather advertisements, then dealings. If a site is lost up to here, nothing of any update has been told.
2. Gather masked updates, and fold them as they come. From here on the updates can't be asked for again.
3. Let the survivors confirm who they are, and reveal the shares that unmask their sum.
4. Check the sum: it is the only thing that can be seen of a broken or lying site.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fed_common import canonical
from fed_common.errors import MalformedMessageError, QuorumError, TrustError
from fed_common.masking.roster import Roster
from fed_common.masking.statements import (
    Advertisement,
    Confirmation,
    Dealing,
    Revelation,
    Survivors,
    join_lines,
)
from fed_common.names import SiteName
from fed_common.plans import TrainTerms
from fed_server.masking.courier import Courier
from fed_server.masking.unmasking import MaskedSum
from fed_server.screening import NORM_SLACK, SiteFailure


class AbandonedError(QuorumError):
    """Masked updates are out, and no sum came of them; the round can't be asked again."""


@dataclass(frozen=True, kw_only=True)
class MaskedMean:
    """The weighted mean of the updates of `sites`."""

    values_P: NDArray[np.float64]
    sites: tuple[SiteName, ...]


@dataclass(frozen=True, kw_only=True)
class Dealt:
    """Who is left, in which roster, with the dealings of all its members as they travel."""

    roster: Roster
    dealings: bytes


@dataclass(frozen=True, kw_only=True)
class Session:
    """The coordinator's side; `needed` sites are the fewest that it sums."""

    courier: Courier
    needed: int

    def deal(self, ready: tuple[SiteName, ...]) -> Dealt | tuple[SiteName, ...]:
        """Return the roster with its dealings, or who is left if somebody got lost (step 1).

        Raises:
            QuorumError: the advertised keys make no roster.
        """
        advertised = self.courier.gather("advertise", Advertisement, ready)
        if len(advertised) < self.needed:
            return tuple(sorted(advertised))
        body = join_lines(line for line, _ in advertised.values())
        try:
            roster = Roster.read(body, self.courier.plan, self.courier.session)
        except TrustError as error:
            raise QuorumError(f"the advertised keys make no roster: {error}") from error
        dealt = self.courier.gather("share", Dealing, roster.members, body)
        if len(dealt) < len(roster.members):
            return tuple(sorted(dealt))
        return Dealt(roster=roster, dealings=join_lines(line for line, _ in dealt.values()))

    def mean(self, dealt: Dealt, num_parameters: int) -> MaskedMean:
        """Return the mean of the survivors' updates (steps 2 to 4).

        Raises:
            AbandonedError: too few survived or helped to unmask, or it can't be a mean of clipped updates.
        """
        total = MaskedSum(self.courier.masking.ring, num_parameters)
        survivors = self._mask(dealt, total)
        revealed = self._unmask(dealt.roster, survivors)
        try:
            sum_P = total.unmask(dealt.roster, survivors, revealed)
            return MaskedMean(values_P=self._checked_mean(sum_P, survivors.alive), sites=survivors.alive)
        except (TrustError, MalformedMessageError) as error:
            raise AbandonedError(f"the sum can't be used: {error}") from error

    def _mask(self, dealt: Dealt, total: MaskedSum) -> Survivors:
        roster, alive = dealt.roster, set[SiteName]()
        for site, masked in self.courier.ask("mask", roster.members, dealt.dealings):
            try:
                total.fold(masked)
            except MalformedMessageError as error:
                self.courier.fail(SiteFailure(site=site, code="malformed", detail=str(error)))
            else:
                alive.add(site)
        _refuse_fewer(len(alive), max(self.needed, roster.threshold), "masked their updates")
        return Survivors(
            roster=roster.digest,
            alive=tuple(site for site in roster.members if site in alive),
            dropped=tuple(site for site in roster.members if site not in alive),
        )

    def _unmask(self, roster: Roster, survivors: Survivors) -> dict[SiteName, Revelation]:
        confirmed = self.courier.gather("confirm", Confirmation, survivors.alive, canonical.encode(survivors))
        _refuse_fewer(len(confirmed), roster.threshold, "confirmed the survivors")
        body = join_lines(line for line, _ in confirmed.values())
        revealed = self.courier.gather("unmask", Revelation, confirmed, body)
        _refuse_fewer(len(revealed), roster.threshold, "revealed their shares")
        return {site: fact for site, (_, fact) in revealed.items()}

    def _checked_mean(self, sum_P: NDArray[np.int64], alive: tuple[SiteName, ...]) -> NDArray[np.float64]:
        """Return the weighted mean; that of clipped updates isn't longer than the clip either (step 4)."""
        plan, ring = self.courier.plan, self.courier.masking.ring
        weight = sum(site.patients for site in plan.cohort if site.name in alive)
        mean_P = sum_P / ring.scale / weight
        clip = plan.terms.update_clip if isinstance(plan.terms, TrainTerms) else 0.0
        # Rounding adds at most half a step of the grid to each parameter.
        limit = clip * (1 + NORM_SLACK) + 0.5 / ring.scale * np.sqrt(mean_P.size)
        norm = float(np.linalg.norm(mean_P))
        if not norm <= limit:
            raise TrustError(f"its mean has norm {norm:.3g}, of updates clipped to {clip:g}")
        return mean_P


def _refuse_fewer(count: int, needed: int, did: str) -> None:
    if count < needed:
        raise AbandonedError(f"{count} sites {did}, {needed} must have")
