"""The tables `[[faults]]` of a scenario: which hospital fails in which round, and how."""

from typing import Annotated, Literal

from pydantic import Field

from fed_common.config import ConfigTable

FaultKind = Literal["late", "silent", "crash", "corrupt", "forged", "malicious", "drop-out"]


class FaultTable(ConfigTable):
    """One fault of one hospital's training.

    late        it trains, and its answer comes after the deadline
    silent      it can't be reached in the whole round
    crash       it dies while it trains; after that round it is back
    corrupt     a bit of its answer, or masked update, flips on the way
    forged      it sends, well signed, what it never trained
    malicious   it trains by the book on images whose labels are flipped; two classes only
    drop-out    it is gone once keys are shared, before its masked update is there; masked rounds only
    """

    site: str
    round: Annotated[int, Field(ge=1)]
    kind: FaultKind
