"""Tells operator and audit log what happens on the line: what is refused there never reaches the site."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fed_client.flower_link import LinkEvent
from fed_client.site_log import SiteLog
from fed_common.audit_log.refusals import Refusals
from fed_common.background import repeating

logger = logging.getLogger(__name__)

TELL_EVERY_S = 1.0


@contextmanager
def told(log: SiteLog) -> Iterator[Callable[[LinkEvent], None]]:
    """Yield what takes in the events of a link; the number of refused questions is in `log` at the end."""
    refusals = Refusals(log=log.log)

    def take(event: LinkEvent) -> None:
        logger.info("coordinator: %s", event)
        if event == "question-malformed" or event == "question-too-large":  # noqa: PLR1714
            refusals.count(event, actor=log.site)

    with repeating(refusals.tell, every_s=TELL_EVERY_S, name="refusals"):
        try:
            yield take
        finally:
            refusals.tell(everything=True)
