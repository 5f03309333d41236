"""Keeps the site's own secret, behind every pseudonym and encrypted picture; it never leaves the machine."""

import os
import secrets
from pathlib import Path

from fed_common.errors import MachineError, TrustError
from fed_common.signing import refuse_shared_key_file


def site_secret(state: Path) -> bytes:
    """Return the secret, made at first use; without it, every patient is a stranger and every picture lost.

    Raises:
        MachineError: the disk refuses.
        TrustError: others may read it, or it isn't whole.
    """
    path = state / "pseudonym.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
        refuse_shared_key_file(path)
        key = path.read_bytes()
    except OSError as error:
        raise MachineError(f"{path}: can't be used ({error.strerror})") from error
    if len(key) != 32:
        raise TrustError(f"{path}: must hold 32 bytes, got {len(key)}; restore it from backup")
    return key
