"""What a privacy officer has signed for, kept beside the officer's key, so that nobody gets two budgets.

A second site.toml over the same images, with another name or a ledger of its own, would be a second budget
for the same patients. The officer's signature is what starts a budget, so here is where it is refused.
"""

from dataclasses import dataclass
from pathlib import Path

from fed_common import canonical
from fed_common.errors import MalformedMessageError, PrivacyError
from fed_common.files import write_atomically
from fed_common.ledger_record import LedgerHead, LedgerRecord
from fed_common.names import SiteName


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where patients are and where their budget is kept, and how far its ledger had come when signed for."""

    site: SiteName
    images: str
    ledger: str
    head: LedgerHead


@dataclass(frozen=True, kw_only=True)
class Register:
    """All places that one officer has signed for, one for each folder of images."""

    places: tuple[Place, ...] = ()


def enter(register: Path, place: Place, record: LedgerRecord) -> None:
    """Note that the officer signs for `place`, whose ledger says `record`.

    Raises:
        PrivacyError: the images, or some of them, have their budget in another ledger that is still there,
            or that this one didn't grow out of.
        MachineError: the register can't be written.
    """
    kept = []
    for other in _read(register).places:
        if not _overlap(other.images, place.images):
            kept.append(other)
        elif other.ledger != place.ledger and (
            Path(other.ledger).exists() or not record.contains(other.head)
        ):
            raise PrivacyError(
                f"{place.images}: the budget of these patients is in {other.ledger}, of site {other.site}; "
                f"a second ledger would be a second budget: let site.state name that one, or move it"
            )
    write_atomically(register, canonical.encode(Register(places=(*kept, place))))


def pass_on(register: Path, successor: Path) -> None:
    """Add what one officer has signed for to the register of the next.

    Raises:
        MachineError: it can't be written.
    """
    known = _read(successor).places
    images = {place.images for place in known}
    added = [place for place in _read(register).places if place.images not in images]
    write_atomically(successor, canonical.encode(Register(places=(*known, *added))))


def _read(register: Path) -> Register:
    try:
        return canonical.decode(register.read_bytes(), Register)
    except FileNotFoundError:
        return Register()
    except (OSError, MalformedMessageError) as error:
        raise PrivacyError(f"{register}: the officer's register is unreadable; restore it") from error


def _overlap(one: str, other: str) -> bool:
    """Tell whether one folder is the other or lies in it."""
    first, second = Path(one), Path(other)
    return first.is_relative_to(second) or second.is_relative_to(first)
