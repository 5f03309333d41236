"""Stock Flower's simulation runtime for tests, with its own state, grid and queues, but threads for Ray."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.fleet.vce.backend import Backend
from flwr.server.superlink.fleet.vce.metrics import VceMetrics
from flwr.server.superlink.fleet.vce.vce_api import _register_node_info_stores, _register_nodes, run_api
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkStateFactory
from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
from flwr.serverapp import Grid
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid

APP = Path(__file__).parents[2] / "sim/flower"
RUN_ID, TASK_ID = 1, 2


class Threads(Backend):
    """Runs the app in the thread that asks for it."""

    def __init__(self, workers: int) -> None:
        super().__init__({})
        self._workers = workers

    def build(self, app_fn: Callable[[], ClientApp]) -> None:
        self._app = app_fn()

    @property
    def num_workers(self) -> int:
        return self._workers

    def is_worker_idle(self) -> bool:
        return True

    def terminate(self) -> None:
        pass

    def process_message(self, message: Message, context: Context) -> tuple[Message, Context]:
        return self._app(message, context), context


@contextmanager
def simulated(
    app: ClientApp, *, nodes: int, monkeypatch: pytest.MonkeyPatch, federation: str = ""
) -> Iterator[tuple[Grid, Context]]:
    """Yield the grid to nodes that run `app`, and the context of the ServerApp, in one run of our app."""
    for name, value in (("_task_id", TASK_ID), ("_run_id", RUN_ID), ("_node_id", SUPERLINK_NODE_ID)):
        monkeypatch.setattr(TaskIdentity, name, value)
    factory = LinkStateFactory(
        FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory(FLWR_IN_MEMORY_DB_NAME)
    )
    run = Run.create_empty(run_id=RUN_ID)
    run.federation_id, run.primary_task_id = NOOP_FEDERATION_ID, TASK_ID
    run.override_config = {"federation": federation}
    state = factory.state()
    assert isinstance(state, InMemoryLinkState)
    state.run_ids[RUN_ID] = RunRecord(run=run)
    state.task_store[TASK_ID] = Task(task_id=TASK_ID, run_id=RUN_ID)
    partitions = _register_nodes(nodes, factory)
    stores = _register_node_info_stores(partitions, run, str(APP))
    grid = InMemoryGrid(state_factory=factory)
    grid.set_run(run)
    stop = threading.Event()
    runtime = threading.Thread(
        target=run_api,
        args=(lambda: app, lambda: Threads(nodes), partitions, factory, stores, stop, VceMetrics()),
    )
    runtime.start()
    try:
        yield grid, next(iter(stores.values())).retrieve_context(RUN_ID)
    finally:
        stop.set()
        runtime.join()
