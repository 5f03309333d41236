"""One family of errors per person who must act, so that every failure is one line and an exit code.

`FedError.exit_code` is what the process returns; the table in the README is made from this module.
"""

from typing import ClassVar


class FedError(Exception):
    """Something a person can act on; its text is one line that says what is wrong and what is allowed."""

    exit_code: ClassVar[int] = 1


class ConfigError(FedError):
    """The person who wrote the configuration must act: a key, value or file it names is wrong."""

    exit_code = 2


class DataError(FedError):
    """The data steward must act: images or labels are missing, unreadable or not learnable."""

    exit_code = 3


class UnreadableImageError(DataError):
    """One image can't be used; it is counted and named by a local index, and the rest goes on."""


class PrivacyError(FedError):
    """The privacy officer must act: a request is outside the policy or the budget."""

    exit_code = 4


class LedgerError(PrivacyError):
    """The ledger is missing, older than a witness has seen, damaged or forged."""


class TrustError(FedError):
    """Whoever runs the keys must act: a signature, certificate or identity doesn't hold."""

    exit_code = 5


class MachineError(FedError):
    """The machine's operator must act: a port, disk, lock or connection is in the way."""

    exit_code = 6


class QuorumError(FedError):
    """The coordinator must act: too few sites answered, so nothing was published."""

    exit_code = 7


class MalformedMessageError(FedError):
    """A message doesn't parse; whoever sent it is left out, and nothing of it was used."""

    exit_code = 8
