"""Reads a duration as people write it on a command line."""

import re

from fed_common.errors import ConfigError

_UNIT_S = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 30 * 86400.0


def seconds_of(text: str) -> float:
    """Return 30m, 24h or 7d in seconds.

    Raises:
        ConfigError: it is no duration, or longer than a secret may lie around.
    """
    parts = re.fullmatch(r"([0-9]{1,4})([mhd])", text)
    duration_s = int(parts[1]) * _UNIT_S[parts[2]] if parts else 0.0
    if not 0 < duration_s <= _LONGEST_S:
        raise ConfigError(f"a time to live must look like 30m, 24h or 7d, at most 30d, got {text!r}")
    return duration_s
