"""One run whose folder and sites outlive the coordinator's process, and ways to end that process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tests.fakes import (
    COHORT,
    COORDINATOR_KEY,
    COORDINATOR_SIGNS,
    MODEL,
    OFFICER_KEYS,
    POLICY,
    SITE_KEYS,
    SITES,
    TASK,
    DirectExchange,
    ObedientSite,
    cosignature,
    images_of,
    opened_site,
)

from fed_common import checkpoint as checkpoints
from fed_common.artefacts.cosigning import is_cosign_request
from fed_common.audit_log.log import AuditLog
from fed_common.checkpoint import Checkpoint
from fed_common.messages import PlanStatement, is_step, unseal
from fed_common.names import RunId, SiteName
from fed_common.proposal import EvaluationTable, PrivacyTable
from fed_common.test_set import TestSet
from fed_server.config import audit_log_in
from fed_server.coordinator_log import CoordinatorLog
from fed_server.federation import Federation
from fed_server.journal import Observer, RunEvent
from fed_server.rounds import Coordinator
from fed_server.run_folder import RunFolder
from fed_server.settings import AggregationTable, QuorumTable, RunSettings, TrainingTable

SETTINGS = RunSettings(
    name="play",
    task=TASK,
    cohort=COHORT,
    training=TrainingTable(rounds=2, steps_per_round=1, learning_rate=0.1),
    privacy=PrivacyTable(epsilon=50.0, sampling_rate=0.5, noise_multiplier=2.0),
    evaluation=EvaluationTable(every=2, noise_multiplier=4.0),
    quorum=QuorumTable(sites=2, gather_s=0.0, wait_s=0.05, retries=1),
    aggregation=AggregationTable(masked=False),
)
PUBLIC = images_of(10, seed=9)
TEST_SET = TestSet(images_NCHW=PUBLIC.images_NCHW, labels_N=PUBLIC.labels_N, patients_N=PUBLIC.patients_N)


@dataclass
class Run:
    """One run's folder and sites, which outlive the coordinator's process."""

    folder: RunFolder
    sites: dict[SiteName, Callable[[bytes], bytes]] = field(
        default_factory=lambda: {site: ObedientSite(site, value=0.001) for site in SITES}
    )
    offline: set[SiteName] = field(default_factory=set)
    cosigners: dict[SiteName, Callable[[bytes], bytes]] = field(
        default_factory=lambda: {site: partial(cosignature, site=site) for site in SITES}
    )
    questions: dict[tuple[int, str], set[str]] = field(default_factory=dict)

    @property
    def log(self) -> AuditLog:
        return audit_log_in(self.folder.root)

    def start(
        self, *, settings: RunSettings = SETTINGS, observer: Observer = lambda event: None
    ) -> Checkpoint:
        """Run a new coordinator on the same folder until it ends or raises."""
        exchange = DirectExchange({site: partial(self._answer, site) for site in self.sites}, self.offline)
        coordinator = Coordinator(
            key=COORDINATOR_KEY,
            site_keys={site: key.verifying_key for site, key in SITE_KEYS.items()},
            officer_keys={site: key.verifying_key for site, key in OFFICER_KEYS.items()},
            log=CoordinatorLog(self.log),
            exchange=exchange,
            quorum=settings.quorum_in_force.sites,
            deadline_s=60.0,
        )
        federation = Federation(
            settings=settings,
            coordinator=coordinator,
            folder=self.folder,
            test_set=TEST_SET,
            observer=observer,
        )
        try:
            return federation.run()
        finally:
            for question in exchange.questions:
                if is_step(question.payload) or is_cosign_request(question.payload):
                    continue  # its session is another one each time, or it is no plan
                statement, _ = unseal(question.payload, PlanStatement, COORDINATOR_SIGNS)
                key = (question.round, question.phase)
                self.questions.setdefault(key, set()).add(statement.plan.digest)

    def _answer(self, site: SiteName, payload: bytes) -> bytes:
        return (self.cosigners if is_cosign_request(payload) else self.sites)[site](payload)

    def chain(self) -> list[Checkpoint]:
        """Return all published checkpoints, each verified."""
        paths = sorted(self.folder.checkpoints.iterdir())
        return [checkpoints.load(path, MODEL, COORDINATOR_SIGNS) for path in paths]


def new_run(root: Path) -> Run:
    """Return a run that has not begun, in a folder of its own."""
    (root / "run-1" / "checkpoints").mkdir(parents=True)
    return Run(RunFolder(root, RunId("run-1")))


@contextmanager
def real_sites(run: Run, folder: Path) -> Iterator[None]:
    """Let three hospitals that really train take part in the run."""
    peers = tuple(key.verifying_key.spoken for key in SITE_KEYS.values())
    policy = replace(POLICY, epsilon=50.0, max_images_per_patient=9, max_clip_norm=10.0, peers=peers)
    with ExitStack() as stack:
        opened = {
            site: stack.enter_context(opened_site(folder / site, name=site, policy=policy)) for site in SITES
        }
        answerers: dict[SiteName, Callable[[bytes], bytes]] = {
            site: hospital.answer for site, hospital in opened.items()
        }
        run.sites = run.cosigners = answerers
        yield


class Crash(BaseException):
    """The process is gone."""


@dataclass
class CrashAt:
    """Ends the process at one event of the run."""

    number: int
    seen: int = 0

    def __call__(self, event: RunEvent) -> None:
        self.seen += 1
        if self.seen == self.number:
            raise Crash
