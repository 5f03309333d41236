"""Finds the models that a site is part of, and for each the last checkpoint that it is not part of yet."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fed_common import checkpoint as checkpoints
from fed_common.checkpoint import Manifest
from fed_common.names import RunId, SiteName
from fed_common.signing import VerifyingKey
from fed_common.withdrawal import ModelUsed
from fed_server.journal import ModelReleased
from fed_server.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Use:
    """A model that a site is part of; `before` is the last checkpoint without it, None if there is none.

    Where already the parameters that the run began with are made of it, `begun_from` is the run that they are
    from; what is said of that one says where to begin.
    """

    model: ModelUsed
    before: Path | None
    begun_from: RunId | None = None


def uses_of(site: SiteName, root: Path, key: VerifyingKey) -> Iterator[Use]:
    """Yield each run below `root` whose last checkpoint is made of the site.

    Raises:
        TrustError: a checkpoint isn't the coordinator's.
        MalformedMessageError: a journal or manifest is damaged.
    """
    for path in sorted(root.glob("*/checkpoints")):
        folder = RunFolder(root, RunId(path.parent.name))
        last = checkpoints.latest(folder.checkpoints)
        manifest = checkpoints.load_manifest(last, key) if last else None
        if manifest is not None and site in manifest.made_of:
            yield _use(site, folder, manifest)


def _use(site: SiteName, folder: RunFolder, manifest: Manifest) -> Use:
    trained = next((trained for trained in manifest.trained if trained.site == site), None)
    released = (event for event in folder.journal.read() if isinstance(event, ModelReleased))
    model = ModelUsed(
        run=folder.run,
        rounds=trained.rounds if trained else 0,
        first=trained.first if trained else 0,
        last=trained.last if trained else 0,
        releases=tuple(event.number for event in released),
    )
    begun_from = manifest.begun_from
    if begun_from is not None and site in begun_from.sites:
        return Use(model=model, before=None, begun_from=begun_from.run)
    fresh = model.first == 1 and begun_from is None
    return Use(model=model, before=None if fresh else folder.checkpoint(model.first - 1))
