"""One site in one session of a masked round: five states, each of which can take only the next step.

1 advertise: two session keys, signed for this plan and session.
2 share: among the members that all see alike, deal shares of the mask key and of the self seed; by its
  signature on the roster's digest, a site says with whom it will mask.
3 mask: only when all members have signed the same roster; the update, which is taken once and for good,
  plus the mask of the self seed, plus or minus one mask for each other member.
4 confirm: sign who survived.
5 unmask: only for survivors that enough members confirmed: shares of the survivors' self seeds and of the
  others' mask keys. Of no site does anybody give both.

A state is dropped when the next one is there, and its secrets with it; none is ever written down, so after
a crash nothing can be resumed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fed_common import canonical
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.masking import shamir
from fed_common.masking.keys import SessionSecrets, agree, open_share, pair_mask, public_hex, seal_share
from fed_common.masking.ring import Ring, apply_masks
from fed_common.masking.roster import Roster
from fed_common.masking.statements import (
    Advertisement,
    Confirmation,
    Dealing,
    RevealedShare,
    Revelation,
    SealedShares,
    Survivors,
    read_lines,
    sign_line,
)
from fed_common.masking.terms import Masking
from fed_common.messages import RoundPlan
from fed_common.names import SiteName, digest_of
from fed_common.signing import SigningKey

TakeUpdate = Callable[[], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class HeldShares:
    """Another site's secrets, as far as this site can help to restore them."""

    self_seed: bytes = field(repr=False)
    mask_key: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Party:
    """Who takes part in which session; fewer than `minimum` sites are never summed."""

    site: SiteName
    key: SigningKey
    plan: RoundPlan
    masking: Masking
    session: str
    minimum: int

    @property
    def ring(self) -> Ring:
        """Return where the sum is made."""
        return self.masking.ring

    def advertise(self) -> tuple[bytes, "Advertised"]:
        """Return the signed public keys (step 1)."""
        secrets = SessionSecrets()
        advertisement = Advertisement(
            site=self.site,
            plan=self.plan.digest,
            session=self.session,
            sealing_key=public_hex(secrets.sealing_key),
            mask_key=public_hex(secrets.mask_key),
            self_seed=digest_of(secrets.self_seed),
        )
        return sign_line(advertisement, self.key), Advertised(party=self, secrets=secrets, own=advertisement)


@dataclass(frozen=True, kw_only=True)
class Advertised:
    """The site has told its keys."""

    party: Party
    secrets: SessionSecrets
    own: Advertisement

    def share(self, body: bytes) -> tuple[bytes, "Dealt"]:
        """Return the signed dealing, for the roster that the advertisements in `body` make (step 2).

        Raises:
            TrustError: the roster isn't one that this site may mask in; see `Roster.read`.
            MalformedMessageError: `body` is no list of advertisements.
        """
        party = self.party
        roster = Roster.read(body, party.plan, party.session, minimum=party.minimum)
        if roster.members.get(party.site) != self.own:
            raise TrustError("the roster names other keys for this site than its own")
        count = len(roster.members)
        seeds = shamir.split(self.secrets.self_seed, threshold=roster.threshold, holders=count)
        keys = shamir.split(
            self.secrets.mask_key.private_bytes_raw(), threshold=roster.threshold, holders=count
        )
        pair_secrets = {
            site: agree(self.secrets.sealing_key, other.sealing_key)
            for site, other in roster.members.items()
            if site != party.site
        }
        dealing = Dealing(
            site=party.site,
            roster=roster.digest,
            shares=tuple(
                SealedShares(
                    holder=site,
                    sealed=seal_share(
                        seeds[roster.places[site] - 1] + keys[roster.places[site] - 1],
                        secret,
                        roster=roster.digest,
                        dealer=party.site,
                        holder=site,
                    ),
                )
                for site, secret in pair_secrets.items()
            ),
        )
        place = roster.places[party.site] - 1
        held = HeldShares(self_seed=seeds[place], mask_key=keys[place])
        dealt = Dealt(
            party=party, secrets=self.secrets, roster=roster, pair_secrets=pair_secrets, own_shares=held
        )
        return sign_line(dealing, party.key), dealt


@dataclass(frozen=True, kw_only=True)
class Dealt:
    """The site has signed the roster."""

    party: Party
    secrets: SessionSecrets
    roster: Roster
    pair_secrets: Mapping[SiteName, bytes] = field(repr=False)
    own_shares: HeldShares

    def mask(self, body: bytes, take_update: TakeUpdate) -> tuple[bytes, "Masked"]:
        """Return the masked update; it is taken only when all has been checked (step 3).

        Raises:
            TrustError: not all members signed this very roster, or a share can't be opened.
            MalformedMessageError: `body` is no list of dealings.
        """
        held = self._open_shares(read_lines(body, Dealing, self.party.masking.keys))
        own = self.party.site
        masks = {
            site: pair_mask(
                self.secrets.mask_key,
                other.mask_key,
                roster=self.roster.digest,
                pair=frozenset((own, site)),
            )
            for site, other in self.roster.members.items()
            if site != own
        }
        terms = self.party.plan.site(own)
        if terms is None:
            raise TrustError(f"{own} has no weight in this plan")
        vector_P = self.party.ring.weighted(take_update(), terms.patients)
        apply_masks(
            vector_P,
            added=[self.secrets.self_seed, *(mask for site, mask in masks.items() if own < site)],
            removed=[mask for site, mask in masks.items() if site < own],
        )
        return vector_P.tobytes(), Masked(party=self.party, roster=self.roster, held=held)

    def _open_shares(self, dealings: Mapping[SiteName, Dealing]) -> Mapping[SiteName, HeldShares]:
        own = self.party.site
        if set(dealings) != set(self.roster.members):
            raise TrustError("not all members of the roster have signed it")
        held = {own: self.own_shares}
        for dealer, dealing in dealings.items():
            if dealing.roster != self.roster.digest:
                raise TrustError(f"{dealer} signed another roster")
            if dealer == own:
                continue
            sealed = {share.holder: share.sealed for share in dealing.shares}
            opened = open_share(
                sealed.get(own, ""),
                self.pair_secrets[dealer],
                roster=self.roster.digest,
                dealer=dealer,
                holder=own,
            )
            if len(opened) != 2 * shamir.SHARE_BYTES:
                raise MalformedMessageError(f"{dealer} dealt shares of {len(opened)} bytes")
            held[dealer] = HeldShares(
                self_seed=opened[: shamir.SHARE_BYTES], mask_key=opened[shamir.SHARE_BYTES :]
            )
        return held


@dataclass(frozen=True, kw_only=True)
class Masked:
    """The site has sent its masked update; what is left are shares of others' secrets and of its own."""

    party: Party
    roster: Roster
    held: Mapping[SiteName, HeldShares]

    def confirm(self, body: bytes) -> tuple[bytes, "Confirmed"]:
        """Return the site's word for the survivors in `body` (step 4).

        Raises:
            TrustError: the sum of these survivors may not be unmasked, or this site isn't one of them.
            MalformedMessageError: `body` names no survivors.
        """
        survivors = canonical.decode(body, Survivors)
        self.roster.refuse_survivors(survivors, minimum=self.party.minimum)
        if self.party.site not in survivors.alive:
            raise TrustError("this site has sent its masked update and is said to have dropped out")
        line = sign_line(Confirmation(site=self.party.site, survivors=survivors), self.party.key)
        return line, Confirmed(masked=self, survivors=survivors)


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The site has signed who survived, and can't sign another list."""

    masked: Masked
    survivors: Survivors

    def unmask(self, body: bytes) -> bytes:
        """Return the signed shares that unmask the survivors' sum, and nothing else (step 5).

        Raises:
            TrustError: too few members confirmed these very survivors.
            MalformedMessageError: `body` is no list of confirmations.
        """
        party, roster, held = self.masked.party, self.masked.roster, self.masked.held
        confirmed = read_lines(body, Confirmation, party.masking.keys)
        agreeing = {site for site, word in confirmed.items() if word.survivors == self.survivors}
        if len(agreeing & set(self.survivors.alive)) < roster.threshold:
            raise TrustError(f"{len(agreeing)} members confirmed the survivors, {roster.threshold} must have")
        revelation = Revelation(
            site=party.site,
            roster=roster.digest,
            self_seeds=tuple(
                RevealedShare(dealer=site, share=held[site].self_seed.hex()) for site in self.survivors.alive
            ),
            mask_keys=tuple(
                RevealedShare(dealer=site, share=held[site].mask_key.hex()) for site in self.survivors.dropped
            ),
        )
        return sign_line(revelation, party.key)
