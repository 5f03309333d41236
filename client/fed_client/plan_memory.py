"""The plans that a site has accepted last: without them, an old plan or a second model would pass for new.

A plan that the coordinator has signed is accepted only forwards (TUF's rule against rollback):

1. of the run that is going on, or of one that was never heard of; a run that another has followed is over;
2. of the round that was accepted last, or of a later one;
3. of one round and phase, one plan only, whatever became of it: another model for this site alone is another
   plan, and so is a second try with other terms;
4. going on from the checkpoint that this site was told of: its run's checkpoints up to the round that was
   accepted last are in the lineage of every later plan. Each manifest names the one before, so that a site
   that was away for some rounds needs no more.

What was accepted is on disk, signed by the site, before anything is done about the plan; it is kept for each
key of the site, coordinator and task. Where it is lost, the ledger still refuses what was charged.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from fed_client.policy import PolicyRefusal
from fed_common import signed_fact
from fed_common.errors import MalformedMessageError, TrustError
from fed_common.files import write_atomically
from fed_common.messages import RoundPlan
from fed_common.names import Digest, RunId
from fed_common.plans import Phase
from fed_common.signing import SigningKey, VerifyingKey


@dataclass(frozen=True, kw_only=True)
class AskedPlan:
    """Which plan the round had for one phase."""

    phase: Phase
    plan: Digest


@dataclass(frozen=True, kw_only=True)
class AcceptedPlans:
    """The newest round, all its plans, what it goes on from, and the runs that are over."""

    run: RunId
    round: int
    plans: tuple[AskedPlan, ...]
    lineage: tuple[Digest, ...]
    over: tuple[RunId, ...] = ()

    @classmethod
    def first(cls, plan: RoundPlan) -> Self:
        """Return what is known after the first plan ever."""
        asked = AskedPlan(phase=plan.phase, plan=plan.digest)
        return cls(run=plan.run, round=plan.round, plans=(asked,), lineage=plan.lineage)

    def and_then(self, plan: RoundPlan) -> "AcceptedPlans":
        """Return what is known once `plan` is accepted, too.

        Raises:
            PolicyRefusal: it isn't; see the module's rules.
        """
        if plan.run in self.over:  # 1
            raise PolicyRefusal("stale-run", f"run {plan.run} is over, {self.run} followed it")
        if plan.run != self.run:
            return replace(AcceptedPlans.first(plan), over=(*self.over, self.run))
        if plan.round < self.round:  # 2
            raise PolicyRefusal("stale-round", f"round {plan.round} is over, {self.round} was asked")
        if plan.lineage[: len(self.lineage)] != self.lineage:  # 4
            raise PolicyRefusal(
                "model-forked", f"round {plan.round} doesn't go on from the model that this site was told of"
            )
        if plan.round > self.round:
            return replace(AcceptedPlans.first(plan), over=self.over)
        asked = AskedPlan(phase=plan.phase, plan=plan.digest)
        if asked in self.plans:
            return self
        if any(known.phase == plan.phase for known in self.plans):  # 3
            raise PolicyRefusal(
                "round-asked-differently", f"round {plan.round} was asked with another plan before"
            )
        return replace(self, plans=(*self.plans, asked))


@dataclass(frozen=True, kw_only=True)
class PlanMemory:
    """Keeps on disk what a site has accepted of one coordinator for its task."""

    folder: Path
    key: SigningKey
    coordinator: VerifyingKey
    task: Digest

    def accept(self, plan: RoundPlan) -> None:
        """Remember a plan that the coordinator has signed.

        Raises:
            PolicyRefusal: it goes back, or aside.
            TrustError: what was remembered is damaged.
            MachineError: it can't be written, so nothing may be done about the plan.
        """
        known = self._read()
        after = known.and_then(plan) if known else AcceptedPlans.first(plan)
        if after != known:
            write_atomically(self._path, signed_fact.sign(after, self.key))

    def refuse_old(self, plan: RoundPlan) -> None:
        """Return only if `plan` could be accepted now; for the steps that follow it.

        Raises:
            PolicyRefusal: it goes back, or aside.
            TrustError: what was remembered is damaged.
        """
        if (known := self._read()) is not None:
            known.and_then(plan)

    def _read(self) -> AcceptedPlans | None:
        try:
            return signed_fact.verify(self._path.read_bytes(), AcceptedPlans, self.key.verifying_key)
        except FileNotFoundError:
            return None
        except (OSError, MalformedMessageError, TrustError) as error:
            raise TrustError(f"{self._path}: damaged, or not this site's own") from error

    @property
    def _path(self) -> Path:
        # A site with a new key must not fall silent: it can't vouch for what was signed with the old one.
        whose = self.key.verifying_key.fingerprint, self.coordinator.fingerprint, self.task
        return self.folder / f"{'-'.join(part[:16] for part in whose)}.signed"
