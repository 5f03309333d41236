"""A small consortium for tests: keys, plans, patients of random pixels, and an exchange without a network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fed_client.answers import AnswerStore
from fed_client.countersignature import Countersignature
from fed_client.dataset import LabelledImages, SiteDataset
from fed_client.plan_memory import PlanMemory
from fed_client.policy import SitePolicy
from fed_client.site import Site, SiteIdentity
from fed_client.site_log import SiteLog
from fed_common import signed_fact, updates
from fed_common.accounting import Spend
from fed_common.artefacts.cosigning import CosignAnswer, open_request
from fed_common.artefacts.envelope import Signature
from fed_common.audit_log.head import EMPTY_LOG, LogHead
from fed_common.audit_log.log import AuditLog
from fed_common.checkpoint import parameter_bytes
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.ledger_record import LedgerHead, Unit
from fed_common.messages import (
    AnswerStatement,
    PlanStatement,
    PrivacyStatement,
    Refusal,
    RoundPlan,
    seal,
    unseal,
)
from fed_common.metrics import EvaluationCounts
from fed_common.models import ModelSpec, initial_parameters
from fed_common.names import Digest, RunId, SiteName, body_digest, digest_of
from fed_common.plans import DpTerms, EvaluationTerms, SiteTerms, StatisticsTerms, Terms, TrainTerms
from fed_common.randomness import Randomness, SystemRandomness
from fed_common.signing import SigningKey
from fed_common.task import Recipe, Task
from fed_server.coordinator_log import CoordinatorLog
from fed_server.exchange import Answer, NoAnswer, Question

NORTH, EAST, SOUTH = SiteName("north"), SiteName("east"), SiteName("south")
SITES = (NORTH, EAST, SOUTH)
RUN = RunId("run-1")
CODE = digest_of(b"the code of every site")
TASK = Task(name="play", classes=("healthy", "sick"), positive="sick", recipe=Recipe())
MODEL = ModelSpec(channels=1, classes=2)
COHORT = tuple(SiteTerms(name=name, patients=size) for name, size in zip(SITES, (4, 8, 16), strict=True))
FIRST_P = initial_parameters(MODEL, seed=0)
NUM_PARAMETERS = len(FIRST_P)


def new_key() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())


COORDINATOR_KEY = new_key()
COORDINATOR_SIGNS = COORDINATOR_KEY.verifying_key
SITE_KEYS = {name: new_key() for name in SITES}
OFFICER_KEYS = {name: new_key() for name in SITES}

DP = DpTerms(noise_multiplier=1.0, clip_norm=1.0, sampling_rate=0.5, steps=2, max_images_per_patient=2)
TRAIN = TrainTerms(dp=DP, learning_rate=0.1, momentum=0.0, update_clip=1.0)
EVALUATE = EvaluationTerms(noise_multiplier=4.0, bins=10)
STATISTICS = StatisticsTerms(noise_multiplier=4.0, classes=2, several_labels=False, bins=16)
POLICY = SitePolicy(
    epsilon=6.0,
    delta=1e-5,
    min_noise_multiplier=1.0,
    min_evaluation_noise=4.0,
    allow_statistics=True,
    min_statistics_noise=4.0,
    max_clip_norm=1.0,
    max_sampling_rate=0.5,
    max_steps_per_round=2,
    max_images_per_patient=2,
    min_cohort=3,
    min_patients=1,
    allowed_models=(MODEL.fingerprint,),
)


costliest_round = cache(SitePolicy.costliest_round)  # a fraction of a second each


@dataclass(frozen=True)
class StepCounter:
    """An accountant whose epsilon is the number of steps, so that a budget's edge is a whole number."""

    name: str = "step counter"

    def epsilon(self, spends: Sequence[Spend], delta: float) -> float:
        return float(sum(spend.steps for spend in spends))


def lineage_of(number: int) -> tuple[Digest, ...]:
    """Return the checkpoints that round `number` of a run goes on from."""
    return tuple(digest_of(b"checkpoint %d" % before) for before in range(number))


def plan_of(terms: Terms = TRAIN, *, number: int = 1) -> RoundPlan:
    return RoundPlan(
        run=RUN,
        round=number,
        rounds=9,
        task=TASK.digest,
        model=MODEL.fingerprint,
        parameters=body_digest(parameter_bytes(FIRST_P)),
        lineage=lineage_of(number),
        cohort=COHORT,
        terms=terms,
        witnessed=(),
    )


def sealed(
    plan: RoundPlan,
    parameters_P: NDArray[np.float32] = FIRST_P,
    *,
    expires: int = 1 << 40,
    names_it: bool = True,
    log: LogHead = EMPTY_LOG,
) -> bytes:
    """Return the plan as the coordinator sends it; unless `names_it`, it goes on naming another model."""
    body = parameter_bytes(parameters_P)
    named = replace(plan, parameters=body_digest(body)) if names_it else plan
    statement = PlanStatement(plan=named, expires=expires, body=body_digest(body), log=log)
    return seal(statement, body, COORDINATOR_KEY)


def images_of(num_patients: int, *, seed: int = 0) -> LabelledImages:
    """Return one image of random pixels per patient; the sick ones are a little brighter."""
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(num_patients) % 2
    pixels_NCHW = torch.randn(num_patients, 1, 32, 32, generator=generator)
    return LabelledImages(
        images_NCHW=pixels_NCHW + labels_N[:, None, None, None],
        labels_N=labels_N,
        patients_N=torch.arange(num_patients),
        num_patients=num_patients,
    )


SEVERAL = Task(name="play several", classes=("a", "b", "c"), positive="b", recipe=Recipe(), multi_label=True)
MODEL_OF_SEVERAL = ModelSpec(channels=1, classes=3)


def several_labels_of(num_patients: int, *, seed: int = 0) -> LabelledImages:
    """Return the same images with any number of three labels each."""
    generator = torch.Generator().manual_seed(seed + 1000)
    labels_NK = torch.randint(0, 2, (num_patients, 3), generator=generator).float()
    return replace(images_of(num_patients, seed=seed), labels_N=labels_NK)


def dataset_of(num_patients: int, *, seed: int = 0) -> SiteDataset:
    return SiteDataset(
        train=images_of(num_patients, seed=seed),
        validation=images_of(6, seed=seed + 1),
        test=images_of(6, seed=seed + 2),
        digest=digest_of(b"%d %d" % (num_patients, seed)),
    )


@contextmanager
def held_ledger(
    folder: Path,
    *,
    name: SiteName = NORTH,
    policy: SitePolicy = POLICY,
    witness: Path | None = None,
    unit: Unit = "patient",
) -> Iterator[PrivacyLedger]:
    """Hold the ledger in `folder`, its witness in a folder beside it unless another place is named."""
    subject = LedgerSubject(
        site=name,
        dataset=digest_of(b"patients"),
        unit=unit,
        officer=OFFICER_KEYS[name].verifying_key.fingerprint,
        policy=policy.digest,
    )
    with PrivacyLedger.held(
        folder / "ledger" / "ledger.jsonl",
        witness=witness or folder / "witness" / "head.json",
        key=SITE_KEYS[name],
        subject=subject,
        costliest=costliest_round(policy),
    ) as ledger:
        yield ledger


def countersignature_in(folder: Path, name: SiteName = NORTH) -> Countersignature:
    return Countersignature(folder=folder / "countersigned", site=name, coordinator=COORDINATOR_SIGNS)


def log_in(folder: Path) -> AuditLog:
    return AuditLog(folder / "audit" / "log.jsonl")


def plans_in(folder: Path, name: SiteName = NORTH, *, task: Task = TASK) -> PlanMemory:
    return PlanMemory(
        folder=folder / "plans", key=SITE_KEYS[name], coordinator=COORDINATOR_SIGNS, task=task.digest
    )


@contextmanager
def opened_site(
    folder: Path,
    *,
    name: SiteName = NORTH,
    policy: SitePolicy = POLICY,
    dataset: SiteDataset | None = None,
    randomness: Randomness | None = None,
    task: Task = TASK,
    unit: Unit = "patient",
) -> Iterator[Site]:
    """Open a hospital on `folder`; opened again, it has the same ledger and answers."""
    with held_ledger(folder, name=name, policy=policy, unit=unit) as ledger:
        yield Site(
            identity=SiteIdentity(name=name, key=SITE_KEYS[name], coordinator=COORDINATOR_SIGNS),
            task=task,
            dataset=dataset or dataset_of(8),
            policy=policy,
            ledger=ledger,
            answers=AnswerStore(folder / "answers"),
            countersignature=countersignature_in(folder, name),
            plans=plans_in(folder, name, task=task),
            log=SiteLog(site=name, log=log_in(folder)),
            accountants=(StepCounter(),),
            randomness=randomness or SystemRandomness(),
        )


_SCRATCH, _NUMBERS = TemporaryDirectory(prefix="fed-coordinator-"), count()


def coordinator_log() -> CoordinatorLog:
    """Return an empty log of a coordinator, in a place of its own."""
    return CoordinatorLog(AuditLog(Path(_SCRATCH.name) / f"{next(_NUMBERS)}.jsonl"))


@dataclass
class DirectExchange:
    """Asks the sites one after another, in the order given; sites in `offline` are silent."""

    answerers: Mapping[SiteName, Callable[[bytes], bytes]]
    offline: set[SiteName] = field(default_factory=set)
    questions: list[Question] = field(default_factory=list)

    def online(self) -> frozenset[SiteName]:
        return frozenset(self.answerers) - self.offline

    def ask(self, question: Question) -> Iterator[Answer | NoAnswer]:
        self.questions.append(question)
        for site, answerer in self.answerers.items():
            if site not in question.sites:
                continue
            if site in self.offline:
                yield NoAnswer(site=site, reason="offline")
            else:
                yield Answer(site=site, payload=answerer(question.payload))


def privacy_of(*, events: int = 1, epsilon: float = 1.0) -> PrivacyStatement:
    head = LedgerHead(events=events, digest=digest_of(b"%d" % events))
    return PrivacyStatement(
        unit="patient",
        epsilon=epsilon,
        delta=1e-5,
        releases=events,
        accountant="fake",
        ledger=head,
        code=CODE,
    )


def answer_to(
    plan: RoundPlan,
    values: NDArray[np.float64],
    *,
    site: SiteName = NORTH,
    key: SigningKey | None = None,
    refusal: Refusal | None = None,
    privacy: PrivacyStatement | None = None,
    log: LogHead = EMPTY_LOG,
) -> bytes:
    """Return what `site` would send; it signs with its own key unless another is given."""
    body = updates.encode(values, plan.terms) if refusal is None else b""
    statement = AnswerStatement(
        site=site,
        run=plan.run,
        round=plan.round,
        phase=plan.phase,
        plan=plan.digest,
        body=body_digest(body),
        refusal=refusal,
        privacy=privacy or privacy_of(),
        log=log,
    )
    return seal(statement, body, key or SITE_KEYS[site])


def cosignature(request: bytes, *, site: SiteName, key: SigningKey | None = None) -> bytes:
    """Return the answer of a site that signs whatever it is asked to, with its own key or another."""
    statement = open_request(request, COORDINATOR_SIGNS).statement.encode()
    answer = CosignAnswer(
        site=site,
        statement=digest_of(statement),
        signature=Signature.by(key or SITE_KEYS[site], statement),
        refusal=None,
    )
    return signed_fact.sign(answer, SITE_KEYS[site])


@dataclass
class ObedientSite:
    """Answers every plan: its own constant update, scores of 50 healthy and 50 sick, or fixed statistics."""

    name: SiteName
    value: float
    plans: list[RoundPlan] = field(default_factory=list)

    def __call__(self, payload: bytes) -> bytes:
        statement, _ = unseal(payload, PlanStatement, COORDINATOR_SIGNS)
        plan = statement.plan
        self.plans.append(plan)
        match plan.terms:
            case TrainTerms():
                values = np.full(NUM_PARAMETERS, self.value)
            case EvaluationTerms(bins=bins):
                negatives_B, positives_B = np.zeros((2, bins))
                negatives_B[1] = positives_B[-2] = 500.0
                counts = EvaluationCounts(negatives_B=negatives_B, positives_B=positives_B, noise_std=0.0)
                values = counts.to_vector()
            case StatisticsTerms(classes=classes, bins=bins):
                # 3 healthy ones for each sick one, all pictures grey of either 1/4 or 3/4.
                values = np.zeros(classes + bins)
                values[:2] = 30_000.0, 10_000.0
                values[[classes + bins // 4, classes + 3 * bins // 4]] = 20_000.0
        return answer_to(plan, values, site=self.name)
