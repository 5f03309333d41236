"""Keeps a site that withdrew out of everything new."""

from collections.abc import Iterable
from pathlib import Path

from fed_common import checkpoint as checkpoints
from fed_common.errors import ConfigError
from fed_common.names import SiteName
from fed_server.registry.registry import Registry


def refuse_withdrawn(registry: Registry, *, cohort: Iterable[SiteName], start: Path | None) -> None:
    """Return only if no site that withdrew is in the cohort of a new run, or in the model in `start`.

    That is the model that a run begins with, or one that is to be let go.

    Raises:
        ConfigError: one is.
        TrustError: the checkpoint in `start` isn't the coordinator's.
    """
    gone = {site for site in registry.sites() if registry.standing(site).withdrawn is not None}
    if asked := sorted(gone.intersection(cohort)):
        raise ConfigError(f"{', '.join(asked)} withdrew: take it out of [[sites]] before a new run begins")
    if start is None:
        return
    made_of = checkpoints.load_manifest(start, registry.key.verifying_key).made_of
    if inside := sorted(gone & made_of):
        raise ConfigError(f"{start}: made of {', '.join(inside)}, too, which withdrew")
