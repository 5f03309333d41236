"""Keeps the register on disk: a file per site, written under a lock, so that an invitation counts once."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from fed_common import canonical
from fed_common.audit_log.facts import RegisterWritten
from fed_common.audit_log.log import AuditLog
from fed_common.errors import MachineError, MalformedMessageError, TrustError
from fed_common.files import append_durably, locked
from fed_common.names import Digest, SiteName, digest_of, site_name
from fed_common.signing import SigningKey
from fed_server.registry.events import Entry, RegistryEvent, decode_event, encode_event
from fed_server.registry.standing import Standing

Decision = Callable[[Standing, Entry], RegistryEvent | None]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The sites of a federation, known by what the owner of `key`, the coordinator, has signed.

    The audit `log`, where one is kept, has the digest of every line; so a line that is cut off is missed.
    """

    folder: Path
    key: SigningKey
    log: AuditLog | None = None
    _known: dict[SiteName, tuple[tuple[int, int], Standing]] = field(default_factory=dict)

    def sites(self) -> tuple[SiteName, ...]:
        """Return everybody of whom something is written."""
        return tuple(site_name(path.stem) for path in sorted(self.folder.glob("*.jsonl")))

    def standing(self, site: SiteName) -> Standing:
        """Return where the site stands now; cheap where its file hasn't changed since.

        Raises:
            TrustError: a line is not the coordinator's, or the chain is broken.
            MachineError: the file can't be read.
        """
        try:
            status = self._file(site).stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._known.get(site)
            if known is None or known[0] != stamp:
                known = self._known[site] = (stamp, self._read(site)[0])
        except FileNotFoundError:
            return Standing(site=site)
        except OSError as error:
            raise MachineError(f"the register of {site} can't be read ({error.strerror})") from error
        return known[1]

    def last_line(self, site: SiteName) -> str:
        """Return the digest of the last line about a site, empty if there is none.

        Raises:
            TrustError: see `standing`.
        """
        return self._read(site)[1]

    def decide(self, site: SiteName, decision: Decision) -> Standing:
        """Write the event that `decision` makes of where the site stands; return where it stands then.

        Nobody else writes of this site meanwhile. A decision may raise: then nothing is written.

        Raises:
            TrustError: see `standing`.
            MachineError: the file can't be written.
        """
        with self._locked(site):
            standing, previous = self._read(site)
            entry = Entry(site=site, at=int(time.time()), previous=previous)
            event = decision(standing, entry)
            if event is None:
                return standing
            self._mend(site)
            line = encode_event(event, self.key)
            append_durably(self._file(site), line + b"\n")
            self._note(site, digest_of(line))
            return standing.after(event)

    def catch_up(self) -> None:
        """Write into the audit log what a crash has kept back from it.

        Raises:
            MachineError: the disk refuses.
        """
        if self.log is None:
            return
        # By the digests of the facts, which stay when their words are forgotten.
        known = {line.entry.data for line in self.log.read()}
        for site in self.sites():
            with self._locked(site):
                for digest in self.digests(site):
                    if canonical.digest(RegisterWritten(site=site, line=digest)) not in known:
                        self._note(site, digest)

    def _note(self, site: SiteName, line: Digest) -> None:
        try:
            if self.log is not None:
                self.log.write("coordinator", RegisterWritten(site=site, line=line))
        except TrustError as error:
            # Not the fault of whoever is decided about: it must not look like a refusal.
            raise MachineError(f"the audit log can't be written: {error}") from error

    def digests(self, site: SiteName) -> tuple[Digest, ...]:
        """Return the digests of the lines about a site."""
        return tuple(digest_of(line) for line in self._lines(site))

    def _lines(self, site: SiteName) -> list[bytes]:
        path = self._file(site)
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []

    def _read(self, site: SiteName) -> tuple[Standing, str]:
        """Return where the site stands, and the digest of the last line."""
        standing, previous = Standing(site=site), ""
        for number, line in enumerate(self._lines(site), start=1):
            try:
                event = decode_event(line, self.key.verifying_key)
            except (TrustError, MalformedMessageError) as error:
                raise TrustError(f"the register of {site}, line {number}: {error}") from error
            if (event.entry.site, event.entry.previous) != (site, previous):
                raise TrustError(f"the register of {site}, line {number}: doesn't follow the line before it")
            standing, previous = standing.after(event), digest_of(line)
        return standing, previous

    def _mend(self, site: SiteName) -> None:
        """Cut off a last line that a crash left unfinished: nobody was told of it."""
        path = self._file(site)
        if path.exists():
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)

    def _locked(self, site: SiteName) -> AbstractContextManager[None]:
        return locked(self.folder / f".{site}.lock", folder_mode=0o700)

    def _file(self, site: SiteName) -> Path:
        return self.folder / f"{site}.jsonl"
