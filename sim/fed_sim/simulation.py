"""Runs a whole federation in one process: the service's own files, rounds, ledgers and site code."""

from contextlib import ExitStack

from fed_client.config import load_site_config
from fed_client.opening import opened_site
from fed_common.checkpoint import Checkpoint
from fed_common.files import exclusive
from fed_common.randomness import Randomness
from fed_server.config import load_federation_config
from fed_server.federation import Federation
from fed_server.journal import Observer
from fed_server.report import write_report
from fed_server.rounds import Coordinator
from fed_server.run_folder import RunFolder
from fed_sim.consortium import Consortium
from fed_sim.loopback import LoopbackExchange


def simulate(
    consortium: Consortium, *, observer: Observer, randomness: Randomness | None = None
) -> tuple[RunFolder, Checkpoint]:
    """Return the run's folder and last checkpoint, after all rounds over the loopback exchange.

    `randomness` is the operating system's unless a test brings another.

    Raises:
        FedError: of the family that says who must act.
    """
    config = load_federation_config(consortium.federation_file)
    with ExitStack() as stack:
        stack.enter_context(exclusive(config.runs, owner="fed-sim"))
        answerers = {
            name: stack.enter_context(
                opened_site(load_site_config(consortium.site_file(name)), randomness=randomness)
            ).answer
            for name in consortium.sites
        }
        exchange = stack.enter_context(LoopbackExchange.open(answerers))
        folder = RunFolder.current(config.runs) or RunFolder.begin(config.runs, config.settings.name)
        coordinator = Coordinator(
            key=config.identity,
            site_keys=config.site_keys,
            exchange=exchange,
            quorum=config.settings.quorum.sites,
            deadline_s=config.settings.quorum.deadline_s,
        )
        last = Federation(
            settings=config.settings,
            coordinator=coordinator,
            folder=folder,
            test_set=config.test_set,
            observer=observer,
        ).run()
        write_report(folder.report, folder.journal.read(), config.references)
    return folder, last
