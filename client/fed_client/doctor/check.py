"""One line of the doctor's report: what was looked at, how it is, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

from fed_common.errors import FedError

Status = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found; `advice` is empty only if there is nothing to do."""

    subject: str
    status: Status
    found: str
    advice: str = ""


def failed(subject: str, error: FedError, *, advice: str) -> Check:
    """Return the check that an error of the program itself has ended; its text is one safe line."""
    return Check(subject=subject, status="failure", found=str(error), advice=advice)
