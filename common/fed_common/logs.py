"""One way to log for every process, and one frame in which every command ends.

Log lines go to standard error, so that `--json` on standard output stays clean.
"""

import logging
import sys
from collections.abc import Callable
from typing import NoReturn

from fed_common.errors import FedError

FORMAT = "%(asctime)s %(levelname)s %(message)s"


def log_to_stderr(*, verbose: bool = False) -> None:
    """Send the project's log lines, and only warnings of libraries, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("fed_common", "fed_client", "fed_server", "fed_sim"):
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)
    # dp-accounting warns of each Renyi order that it leaves out on purpose.
    logging.getLogger("absl").setLevel(logging.ERROR)


def run_command(program: str, command: Callable[[], None]) -> NoReturn:
    """Run a command line to its end; whatever a person can act on is one line and an exit code."""
    try:
        command()
    except FedError as error:
        print(f"{program}: {error}", file=sys.stderr)  # noqa: T201 - the one place where errors are printed
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)
