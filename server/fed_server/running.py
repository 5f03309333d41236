"""From a configuration to a finished run: the same steps for `fed-server` and for the simulation."""

from pathlib import Path

from fed_common.checkpoint import Checkpoint
from fed_server.config import FederationConfig
from fed_server.coordinator_log import CoordinatorLog
from fed_server.exchange import Exchange
from fed_server.federation import Federation
from fed_server.journal import Observer
from fed_server.report import write_report
from fed_server.rounds import Coordinator
from fed_server.run_folder import RunFolder
from fed_server.withdrawal.refusal import refuse_withdrawn


def current_run(config: FederationConfig, *, new_run: bool = False, start: Path | None = None) -> RunFolder:
    """Return the run to go on with, or a new one where there is none or `new_run` asks for it.

    A new one begins with the checkpoint in the folder `start`, if one is given.

    Raises:
        MachineError: the disk refuses.
        ConfigError: a site that withdrew is in the cohort, or in the checkpoint.
        TrustError: the checkpoint isn't the coordinator's.
    """
    folder = RunFolder.current(config.runs)
    if folder is None or new_run:
        cohort = [site.name for site in config.settings.cohort]
        refuse_withdrawn(config.door.registry, cohort=cohort, start=start)
        return RunFolder.begin(config.runs, config.settings.name, start=start)
    return folder


def coordinator_of(config: FederationConfig, exchange: Exchange) -> Coordinator:
    """Return the coordinator that the configuration describes."""
    return Coordinator(
        key=config.identity,
        site_keys=config.site_keys,
        officer_keys=config.officer_keys,
        log=CoordinatorLog(config.log),
        exchange=exchange,
        quorum=config.settings.quorum_in_force.sites,
        deadline_s=config.settings.quorum.deadline_s,
    )


def go_on(
    config: FederationConfig, folder: RunFolder, *, exchange: Exchange, observer: Observer
) -> Checkpoint:
    """Run all rounds that are still to do, and leave a report whatever happens.

    Raises:
        FedError: of the family that says who must act; see `Federation.run`.
    """
    config.door.registry.catch_up()
    try:
        return Federation(
            settings=config.settings,
            coordinator=coordinator_of(config, exchange),
            folder=folder,
            test_set=config.test_set,
            observer=observer,
            known=folder.inherited(config.identity.verifying_key),
        ).run()
    finally:
        # Also after a stop or a lost quorum: what happened so far is worth reading.
        write_report(folder.report, folder.journal.read(), config.references)
