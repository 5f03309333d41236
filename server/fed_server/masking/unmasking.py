"""The running sum of masked updates, and how the survivors' shares take the masks away again."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import combinations, islice

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fed_common.errors import MalformedMessageError, TrustError
from fed_common.masking import shamir
from fed_common.masking.keys import pair_mask, public_hex
from fed_common.masking.ring import Ring, apply_masks
from fed_common.masking.roster import Roster
from fed_common.masking.statements import RevealedShare, Revelation, Survivors
from fed_common.names import SiteName, digest_of

# Enough to leave any three of ten out, and an end where many lie.
_MAX_TRIES = 200


class MaskedSum:
    """The sum so far, in the memory of one vector; each site is added once."""

    def __init__(self, ring: Ring, num_parameters: int) -> None:
        self._ring = ring
        self._sum_P = np.zeros(num_parameters, dtype=ring.dtype)

    def fold(self, masked: bytes) -> None:
        """Add a site's masked update.

        Raises:
            MalformedMessageError: it has another length.
        """
        self._sum_P += self._ring.from_bytes(masked, size=self._sum_P.size)

    def unmask(
        self, roster: Roster, survivors: Survivors, revelations: Mapping[SiteName, Revelation]
    ) -> NDArray[np.int64]:
        """Return the sum of the survivors' weighted updates; the masked sum is used up by it.

        Raises:
            TrustError: too few members revealed their shares, or what they restore isn't what was shared.
            MalformedMessageError: a revelation is about other sites.
        """
        seeds = {
            site: restore_seed(site, roster, {m: one.self_seeds for m, one in revelations.items()})
            for site in survivors.alive
        }
        added, removed = list[bytes](), list(seeds.values())
        for gone in survivors.dropped:
            key = restore_mask_key(gone, roster, {m: one.mask_keys for m, one in revelations.items()})
            for site in survivors.alive:
                mask = pair_mask(
                    key, roster.members[site].mask_key, roster=roster.digest, pair=frozenset((site, gone))
                )
                # The survivor whose name comes first has added it, and nobody took it away.
                (removed if site < gone else added).append(mask)
        apply_masks(self._sum_P, added=added, removed=removed)
        return self._ring.signed(self._sum_P).astype(np.int64)


RevealedBy = Mapping[SiteName, tuple[RevealedShare, ...]]


def restore_seed(site: SiteName, roster: Roster, revealed: RevealedBy) -> bytes:
    """Return the self seed that `site` advertised.

    Raises:
        TrustError: the shares restore another one.
        MalformedMessageError: they are no shares of it.
    """
    named = roster.members[site].self_seed
    return _restore(site, roster, revealed, fits=lambda seed: digest_of(seed) == named)


def restore_mask_key(site: SiteName, roster: Roster, revealed: RevealedBy) -> X25519PrivateKey:
    """Return the private half of the mask key that `site` advertised.

    Raises:
        TrustError: the shares restore another one.
        MalformedMessageError: they are no shares of it.
    """
    named = roster.members[site].mask_key
    return X25519PrivateKey.from_private_bytes(
        _restore(
            site,
            roster,
            revealed,
            fits=lambda raw: public_hex(X25519PrivateKey.from_private_bytes(raw)) == named,
        )
    )


def _restore(site: SiteName, roster: Roster, revealed: RevealedBy, *, fits: Callable[[bytes], bool]) -> bytes:
    """Return the secret that a threshold of shares restores and that `fits` what was advertised."""
    shares: dict[int, bytes] = {}
    for member, ones in revealed.items():
        by_dealer = {one.dealer: one.share for one in ones}
        try:
            shares[roster.places[member]] = bytes.fromhex(by_dealer[site])
        except (KeyError, ValueError) as error:
            raise MalformedMessageError(f"{member} revealed no share of {site}'s secret") from error
    if len(shares) < roster.threshold:
        raise TrustError(f"{len(shares)} members revealed their shares, {roster.threshold} must")
    # Whoever lies is left out, as long as enough others don't.
    for holders in islice(combinations(sorted(shares), roster.threshold), _MAX_TRIES):
        with suppress(TrustError, MalformedMessageError):
            secret = shamir.restore({holder: shares[holder] for holder in holders})
            if fits(secret):
                return secret
    raise TrustError(f"the shares of {site}'s secret restore another one")
