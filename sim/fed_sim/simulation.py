"""Runs a whole federation in one process: the service's own files, rounds, ledgers and site code."""

from collections.abc import Sequence
from contextlib import ExitStack

from fed_client.config import load_site_config
from fed_client.opening import opened_site
from fed_common.checkpoint import Checkpoint
from fed_common.files import exclusive
from fed_common.randomness import Randomness
from fed_server.config import load_federation_config
from fed_server.journal import Observer
from fed_server.run_folder import RunFolder
from fed_server.running import current_run, go_on
from fed_sim.consortium import Consortium
from fed_sim.faults.faulty_site import answerers_of
from fed_sim.faults.table import FaultTable
from fed_sim.loopback import LoopbackExchange


def simulate(
    consortium: Consortium,
    *,
    observer: Observer,
    randomness: Randomness | None = None,
    faults: Sequence[FaultTable] = (),
) -> tuple[RunFolder, Checkpoint]:
    """Return the run's folder and last checkpoint, after all rounds over the loopback exchange.

    `randomness` is the operating system's unless a test brings another. Hospitals fail as `faults` say.

    Raises:
        FedError: of the family that says who must act.
    """
    config = load_federation_config(consortium.federation_file)
    with ExitStack() as stack:
        stack.enter_context(exclusive(config.runs, owner="fed-sim"))
        sites = {
            name: stack.enter_context(
                opened_site(load_site_config(consortium.site_file(name)), randomness=randomness)
            )
            for name in consortium.sites
        }
        answerers = answerers_of(sites, faults, masked=config.settings.masked)
        exchange = stack.enter_context(LoopbackExchange.open(answerers))
        folder = current_run(config)
        return folder, go_on(config, folder, exchange=exchange, observer=observer)
