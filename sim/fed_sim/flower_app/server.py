"""The ServerApp: goes on with the coordinator's run, as `fed-server start` does, over Flower's grid."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fed_common.errors import ConfigError
from fed_common.files import exclusive
from fed_server.config import load_federation_config
from fed_server.console import ConsoleObserver
from fed_server.running import current_run, go_on
from fed_sim.flower_app.exchange import GridExchange

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run all rounds that are still to do of the federation that the run configuration names.

    Raises:
        FedError: of the family that says who must act; Flower's log shows it.
    """
    file = Path(str(context.run_config["federation"]))
    if not file.is_absolute():  # Flower has processes of its own, elsewhere
        raise ConfigError(f"federation must be the absolute path of a federation.toml, got {str(file)!r}")
    config = load_federation_config(file)
    if config.settings.masked:
        raise ConfigError(
            "Flower has a process for each message, and masks live in one that stays: "
            "[aggregation] masked = false"
        )
    with exclusive(config.runs, owner="flwr run"), ConsoleObserver() as observer:
        go_on(config, current_run(config), exchange=GridExchange(grid), observer=observer)
