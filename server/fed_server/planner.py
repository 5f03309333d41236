"""Makes the plans of a run out of published facts only, so that after a crash each is the same again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fed_common.artefacts.participation import SiteRounds
from fed_common.checkpoint import SitePrivacy
from fed_common.masking.ring import smallest_ring
from fed_common.masking.terms import Masking, Member
from fed_common.messages import RoundPlan, WitnessedHead
from fed_common.names import Bytes, RunId, SiteName, body_digest
from fed_common.plans import Terms, TrainTerms
from fed_common.signing import VerifyingKey
from fed_server.lineage import Lineage
from fed_server.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class Planner:
    """What is the same in all plans of one run."""

    run: RunId
    settings: RunSettings
    site_keys: Mapping[SiteName, VerifyingKey]
    lineage: Lineage

    def plan(
        self,
        number: int,
        known: Sequence[SitePrivacy],
        terms: Terms,
        parameters: Bytes,
        *,
        trained: tuple[SiteRounds, ...] = (),
    ) -> RoundPlan:
        """Return the plan of one phase, beside which `parameters` are sent.

        `known` is what the sites stated up to the last checkpoint, `trained` whose updates are in it.

        Raises:
            TrustError: a checkpoint before this round is missing, or not the coordinator's.
            ConfigError: the sum of masked updates could overflow, or fewer than three sites are enrolled.
        """
        settings = self.settings
        return RoundPlan(
            run=self.run,
            round=number,
            rounds=settings.training.rounds,
            task=settings.task.digest,
            model=settings.model.fingerprint,
            parameters=body_digest(parameters),
            lineage=self.lineage.before(number),
            cohort=settings.cohort,
            terms=terms,
            masking=self._masking(terms) if settings.masked and isinstance(terms, TrainTerms) else None,
            trained=trained if isinstance(terms, TrainTerms) and terms.num_vectors > 1 else (),
            witnessed=tuple(WitnessedHead(site=stated.site, head=stated.privacy.ledger) for stated in known),
        )

    def _masking(self, terms: TrainTerms) -> Masking:
        """Return the masks of the sites that are enrolled now: one that was revoked is no member any more."""
        cohort = self.settings.cohort
        members = tuple(
            Member(site=site.name, identity=key.hex)
            for site in cohort
            if (key := self.site_keys.get(site.name)) is not None
        )
        return Masking(members=members, ring=smallest_ring(terms, cohort))
