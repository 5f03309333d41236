"""The exchange of a simulation: the sites are in this process, and the same sealed bytes go to and fro."""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from concurrent.futures import TimeoutError as FuturesTimeoutError
from contextlib import contextmanager
from typing import Self

from fed_common.errors import FedError
from fed_common.names import SiteName
from fed_server.exchange import Answer, NoAnswer, Question, Silence

logger = logging.getLogger(__name__)

Answerer = Callable[[bytes], bytes]


class UnansweredError(Exception):
    """Raised by an answerer for a site that sends nothing."""

    def __init__(self, reason: Silence) -> None:
        """Say why nothing comes."""
        super().__init__(reason)
        self.reason: Silence = reason


class LoopbackExchange:
    """Asks answerers in threads of this process, `workers` at a time."""

    def __init__(self, answerers: Mapping[SiteName, Answerer], pool: ThreadPoolExecutor) -> None:
        self._answerers = answerers
        self._pool = pool

    @classmethod
    @contextmanager
    def open(cls, answerers: Mapping[SiteName, Answerer], *, workers: int = 1) -> Iterator[Self]:
        """Run an exchange until the block ends; answers still in the making are waited for."""
        with ThreadPoolExecutor(workers, thread_name_prefix="site") as pool:
            yield cls(answerers, pool)

    def online(self) -> frozenset[SiteName]:
        """Return all sites: in one process nobody is away."""
        return frozenset(self._answerers)

    def ask(self, question: Question) -> Iterator[Answer | NoAnswer]:
        """Yield one item per site as the answers come; see `Exchange`."""
        waiting = {
            self._pool.submit(self._answerers[site], question.payload): site for site in question.sites
        }
        try:
            for future in as_completed(list(waiting), timeout=question.deadline_s):
                site = waiting.pop(future)
                error = future.exception()
                if error is None:
                    yield Answer(site=site, payload=future.result())
                elif isinstance(error, UnansweredError):
                    yield NoAnswer(site=site, reason=error.reason)
                else:
                    logger.warning("%s: %s", site, error if isinstance(error, FedError) else repr(error))
                    yield NoAnswer(site=site, reason="link-error")
        except FuturesTimeoutError:
            for site in waiting.values():
                yield NoAnswer(site=site, reason="late")
