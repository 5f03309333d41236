"""A plan about nothing, for benchmarks of what happens around a round's training."""

from collections.abc import Iterable

from fed_common.masking.terms import Masking
from fed_common.messages import RoundPlan
from fed_common.names import Digest, RunId, SiteName, digest_of
from fed_common.plans import DpTerms, SiteTerms, TrainTerms, UpdateEncoding

PATIENTS, CLIP = 1000, 1.0
NOTHING = digest_of(b"")


def bench_plan(
    sites: Iterable[SiteName],
    *,
    masking: Masking | None = None,
    parameters: Digest = NOTHING,
    encoding: UpdateEncoding = "fixed-point",
) -> RoundPlan:
    """Return a plan for sites of PATIENTS patients each, whose updates are as long as CLIP at most."""
    dp = DpTerms(noise_multiplier=1.0, clip_norm=1.0, sampling_rate=0.1, steps=1, max_images_per_patient=1)
    return RoundPlan(
        run=RunId("bench"),
        round=1,
        rounds=1,
        task=NOTHING,
        model="none",
        parameters=parameters,
        lineage=(NOTHING,),
        cohort=tuple(SiteTerms(name=name, patients=PATIENTS) for name in sites),
        terms=TrainTerms(dp=dp, learning_rate=1.0, momentum=0.0, update_clip=CLIP, encoding=encoding),
        masking=masking,
        witnessed=(),
    )
