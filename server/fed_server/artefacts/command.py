"""`fed-server publish`, `cosign`, `trust`, `verify`, `verify-run`: what becomes of a finished model."""

import time
from pathlib import Path
from typing import Annotated

import typer

from fed_common import canonical
from fed_common import checkpoint as checkpoints
from fed_common.artefacts.opening import open_released
from fed_common.artefacts.root import ModelRoot, SiteKey
from fed_common.audit import Release
from fed_common.checkpoint import Manifest
from fed_common.errors import ConfigError
from fed_common.files import exclusive, write_atomically
from fed_common.machine import settle_in
from fed_common.models import spec_for
from fed_common.names import run_id
from fed_common.signing import VerifyingKey
from fed_common.task import load_task
from fed_server.artefacts.cosigning import Cosigning
from fed_server.artefacts.release import ReleaseTerms, load_audit, release_model
from fed_server.artefacts.verification import verify_run as check_run
from fed_server.config import load_federation_config, load_trust_files
from fed_server.coordinator_log import CoordinatorLog
from fed_server.flower_link import FlowerExchange
from fed_server.registry.keys import IdentityKeys
from fed_server.report import write_report
from fed_server.run_folder import RunFolder
from fed_server.running import coordinator_of
from fed_server.withdrawal.refusal import refuse_withdrawn

_DAY_S = 86400

ConfigOption = Annotated[Path, typer.Option(help="The federation's configuration.")]
TaskOption = Annotated[Path, typer.Option(help="The task file that the model was trained for.")]


def publish(
    run: Annotated[str, typer.Argument(help="A finished run, such as pneumonia-1a2b3c4d.")],
    out: Annotated[Path, typer.Option(help="A new folder for the published model.")],
    config: ConfigOption = Path("federation.toml"),
    audit: Annotated[Path | None, typer.Option(help="The verdict that `fed-sim audit` wrote.")] = None,
    without_audit: Annotated[
        str, typer.Option(help="Instead, a reason to go without one; it goes into the signed release.")
    ] = "",
    valid_days: Annotated[int, typer.Option(min=1, max=3650, help="For how long it may be used.")] = 365,
    cosigners: Annotated[
        int | None,
        typer.Option(min=0, help="How many sites must have co-signed; by default, more than half."),
    ] = None,
) -> None:
    """Let a finished model go, signed with the passed audit of the code that made it.

    The audit must be of the code that every site ran; the report shows it from then on. A model that is made
    of a site which has withdrawn is let go no more.
    """
    settings = load_federation_config(config)
    ground = Release(audit=load_audit(audit) if audit else None, without_audit=without_audit)
    terms = ReleaseTerms(
        ground=ground,
        expires=int(time.time()) + valid_days * _DAY_S,
        log=settings.log.head(),
        cosigners=cosigners,
    )
    folder = RunFolder(settings.runs, run_id(run))
    with exclusive(settings.runs, owner="fed-server"):
        if folder.finished:
            refuse_withdrawn(settings.door.registry, cohort=(), start=folder.path)
        release = release_model(
            folder,
            settings.settings.model,
            terms,
            key=settings.identity,
            site_keys=IdentityKeys(settings.door.registry),
            out=out,
        )
        CoordinatorLog(settings.log).catch_up([folder])
        write_report(folder.report, folder.journal.read(), settings.references)
    typer.echo(f"{out}: published {run} as release {release.number}, {_ground(ground)}")
    typer.echo(f"report: {folder.report}")


def cosign(
    run: Annotated[str, typer.Argument(help="A finished run, such as pneumonia-1a2b3c4d.")],
    config: ConfigOption = Path("federation.toml"),
) -> None:
    """Ask those sites again that have not co-signed a finished run's model yet."""
    settle_in()
    settings = load_federation_config(config)
    folder = RunFolder(settings.runs, run_id(run))
    if not folder.finished:
        raise ConfigError(f"run {folder.run} is not finished; its sites are asked when it is")
    with (
        exclusive(settings.runs, owner="fed-server"),
        FlowerExchange.open(settings.door) as exchange,
    ):
        coordinator = coordinator_of(settings, exchange)
        told = Cosigning(coordinator=coordinator, settings=settings.settings).present(
            folder, tell=lambda event: coordinator.log.journalled(folder.run, folder.journal.write(event))
        )
    typer.echo(f"co-signed by {', '.join(told.sites) or 'nobody'}")


def trust(
    out: Annotated[Path, typer.Option(help="A new file for whoever uses the models.")],
    threshold: Annotated[
        int | None, typer.Option(help="How many sites must have co-signed; by default, more than half.")
    ] = None,
    config: ConfigOption = Path("federation.toml"),
) -> None:
    """Write the root of trust, the keys of coordinator and sites, and print the digits to compare it by."""
    files = load_trust_files(config)
    registry = files.open_registry()
    enrolled = IdentityKeys(registry, enrolled=True)
    keys = [(site, key) for site, key in enrolled.items() if site in files.sites]
    if not keys:
        raise ConfigError("no site is enrolled yet")
    root = ModelRoot(
        federation=files.federation,
        coordinator=registry.key.verifying_key.hex,
        sites=tuple(SiteKey(site=site, identity=key.hex) for site, key in keys),
        threshold=len(keys) // 2 + 1 if threshold is None else threshold,
    )
    write_atomically(out, canonical.encode(root) + b"\n")
    typer.echo(f"{out}: {root.threshold} of {len(keys)} sites must have co-signed a model")
    typer.echo(f"read to whoever uses it: {root.digest[:32]}")


def verify(
    model: Annotated[Path, typer.Argument(help="A published model's folder, or a finished run's.")],
    task: TaskOption,
    trust: Annotated[
        Path | None, typer.Option(help="The root of trust, for a published model: trust.json.")
    ] = None,
    memory: Annotated[
        Path | None, typer.Option(help="A file that remembers the release, so that no older one passes.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Instead of a root, the coordinator's key alone: identity.pub.")
    ] = None,
) -> None:
    """Check that a model is the one that was signed, and print what is vouched for.

    With a root of trust, that it was released, hasn't expired, and that enough sites co-signed it, too.
    """
    learnt = load_task(task)
    if trust is not None and key is None:
        root = ModelRoot.load(trust)
        release, checkpoint = open_released(model, root, task=learnt, memory=memory)
        day = time.strftime("%Y-%m-%d", time.gmtime(release.expires))
        typer.echo(f"published: release {release.number} until {day}, {_ground(release.ground)}")
        typer.echo(f"the coordinator's audit log then: {release.log.size} entries, root {release.log.root}")
        _show(checkpoint.manifest)
    elif key is not None and trust is None:
        if memory is not None:
            raise ConfigError("--memory remembers releases, and goes with --trust")
        _show(checkpoints.load(model, spec_for(learnt), VerifyingKey.load(key)).manifest)
        typer.echo("by the coordinator's word alone: release and co-signatures were not looked at")
    else:
        raise ConfigError("give either --trust, the root of trust, or --key, the coordinator's alone")


def verify_run(
    run: Annotated[Path, typer.Argument(help="A run's folder, such as runs/pneumonia-1a2b3c4d.")],
    trust: Annotated[Path, typer.Option(help="The root of trust, trust.json.")],
    task: TaskOption,
) -> None:
    """Make every digest of a run again, from its journal and checkpoints, and check all signatures."""
    root = ModelRoot.load(trust)
    folder = RunFolder(run.resolve().parent, run_id(run.resolve().name))
    found = check_run(
        folder, spec_for(load_task(task)), coordinator=root.coordinator_key, site_keys=root.site_keys
    )
    last = found.manifests[-1]
    typer.echo(
        f"{folder.run}: {len(found.manifests)} checkpoints follow each other, the last is {found.last}"
    )
    if found.asked:
        typer.echo(f"{found.asked} times the sites were asked with these parameters, says the audit log")
    else:
        typer.echo("what the sites were asked with isn't known: no audit log is beside the run")
    for trained in last.trained:
        typer.echo(f"{trained.site}: in {trained.rounds} rounds, {trained.first} to {trained.last}")
    if folder.finished:
        typer.echo(f"co-signed by {', '.join(found.cosigners) or 'nobody'}")
    else:
        typer.echo(f"not finished: round {last.round} of {last.rounds}")


def _show(manifest: Manifest) -> None:
    typer.echo(f"signed: run {manifest.run}, round {manifest.round} of {manifest.rounds}, {manifest.model}")
    normalisation = manifest.terms.normalisation
    typer.echo(
        f"input: greys of 0 to 1, less {normalisation.mean:g}, by {normalisation.spread:g}; "
        f"output: {'several labels' if manifest.multi_label else 'one class'} of "
        f"{', '.join(manifest.classes)}; positive: {manifest.positive}"
    )
    if (rollback := manifest.rollback) is not None:
        worse = ", ".join(rollback.worse)
        typer.echo(f"rolled back: the model of round {rollback.to}, because {worse} found the last one worse")
    for stated in manifest.sites:
        privacy = stated.privacy
        typer.echo(
            f"{stated.site}: each {privacy.unit} is protected with epsilon {privacy.epsilon:.3f}, "
            f"delta {privacy.delta:g} against {privacy.adversary}, after {privacy.releases} releases "
            f"({privacy.sampling}; {privacy.accountant}; ledger {privacy.ledger.digest[:12]}; "
            f"code {privacy.code[:12]})"
        )


def _ground(release: Release) -> str:
    """Return in words why the model was let go."""
    if release.audit is None:
        return f"without an audit: {release.without_audit}"
    return f"with the audit of {release.audit.date}, passed by code {release.audit.code[:12]}"
