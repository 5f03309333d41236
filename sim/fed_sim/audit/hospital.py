"""A hospital to be audited: the site of the service on a folder of its own, taken apart at its seams."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fed_client.answers import AnswerStore
from fed_client.countersignature import Countersignature
from fed_client.dataset import LabelledImages, SiteDataset
from fed_client.opening import ACCOUNTANTS
from fed_client.plan_memory import PlanMemory
from fed_client.policy import SitePolicy
from fed_client.private_step import MakeStep, private_step
from fed_client.site import Site, SiteIdentity
from fed_client.site_log import SiteLog
from fed_common.audit_log.log import AuditLog
from fed_common.ledger import LedgerSubject, PrivacyLedger
from fed_common.names import SiteName, digest_of
from fed_common.randomness import Randomness, SystemRandomness
from fed_common.signing import SigningKey
from fed_common.task import Recipe, Task
from fed_sim.audit.canaries import SPEC

SITE = SiteName("audited")
TASK = Task(name="audit", classes=("absent", "present"), positive="present", recipe=Recipe(size=SPEC.size))
COORDINATOR_KEY = SigningKey(Ed25519PrivateKey.generate())
SITE_KEY = SigningKey(Ed25519PrivateKey.generate())

# As open as a policy can be: what limits the audit's plans is what it is after.
POLICY = SitePolicy(
    epsilon=1000.0,
    delta=1e-5,
    min_noise_multiplier=0.3,
    min_evaluation_noise=4.0,
    allow_statistics=False,
    min_statistics_noise=4.0,
    max_clip_norm=10.0,
    max_sampling_rate=1.0,
    max_steps_per_round=1000,
    max_images_per_patient=16,
    min_cohort=1,
    min_patients=1,
    allowed_models=(SPEC.fingerprint,),
)
_costliest_round = cache(SitePolicy.costliest_round)


def as_they_are(images: LabelledImages) -> LabelledImages:
    """Return the images with the patients they were registered with."""
    return images


@dataclass(frozen=True, kw_only=True)
class SiteParts:
    """What a site is put together from; a planted fault (`faults`) exchanges one of them."""

    randomness: Randomness = field(default_factory=SystemRandomness)
    make_step: MakeStep = private_step
    ledger: type[PrivacyLedger] = PrivacyLedger
    register: Callable[[LabelledImages], LabelledImages] = as_they_are


@contextmanager
def opened(parts: SiteParts, train: LabelledImages, folder: Path) -> Iterator[Site]:
    """Yield the site, with a budget that nothing was taken from yet."""
    images = parts.register(train)
    dataset = SiteDataset(train=images, validation=images, test=images, digest=digest_of(b"canaries"))
    with parts.ledger.held(
        folder / "ledger" / "ledger.jsonl",
        witness=folder / "witness",
        key=SITE_KEY,
        subject=LedgerSubject(
            site=SITE,
            dataset=dataset.digest,
            unit="patient",
            officer=SITE_KEY.verifying_key.fingerprint,
            policy=POLICY.digest,
        ),
        costliest=_costliest_round(POLICY),
    ) as ledger:
        yield Site(
            identity=SiteIdentity(name=SITE, key=SITE_KEY, coordinator=COORDINATOR_KEY.verifying_key),
            task=TASK,
            dataset=dataset,
            policy=POLICY,
            ledger=ledger,
            answers=AnswerStore(folder / "answers"),
            countersignature=Countersignature(
                folder=folder / "countersigned", site=SITE, coordinator=COORDINATOR_KEY.verifying_key
            ),
            plans=PlanMemory(
                folder=folder / "plans",
                key=SITE_KEY,
                coordinator=COORDINATOR_KEY.verifying_key,
                task=TASK.digest,
            ),
            log=SiteLog(site=SITE, log=AuditLog(folder / "audit.jsonl")),
            accountants=ACCOUNTANTS,
            randomness=parts.randomness,
            make_step=parts.make_step,
        )
