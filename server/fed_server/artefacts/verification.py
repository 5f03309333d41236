"""Checks a whole run from its folder: every digest is made again, and journal and checkpoints must agree.

A run is checked in this order:

1. the checkpoints are there from round 0 on, without a gap, and each names the one before it;
2. each is signed by the coordinator, and its files are those that it names, strictly of the network's form;
3. all are of the run, the settings, the task and the terms that it began with;
4. the journal tells of each round the same digest and the same sites, and one that was rolled back is the
   earlier one that it names;
5. what the last manifest says of a site's privacy is what that site answered in this run;
6. the sites were asked to go on from these parameters, to evaluate these, and nothing after the end, as the
   coordinator's audit log says, where it is beside the run; that they weren't sent others is seen by
   comparing it with theirs;
7. the result is the last checkpoint; who signed it is told, strangers aren't.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fed_common import checkpoint as checkpoints
from fed_common.artefacts.participation import trained_after
from fed_common.audit_log.facts import PlanAsked
from fed_common.checkpoint import FIRST, Checkpoint, Manifest
from fed_common.errors import TrustError
from fed_common.models import ModelSpec
from fed_common.names import Digest, SiteName, body_digest
from fed_common.plans import Phase
from fed_common.signing import VerifyingKey
from fed_server.algorithms.scaffold import sent_to_train
from fed_server.averaging import Weights
from fed_server.beginning import point_of
from fed_server.config import audit_log_in
from fed_server.journal import RoundPublished, RunEvent, RunStarted, SiteAnswered
from fed_server.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class VerifiedRun:
    """What was found right: the manifests of all rounds, and who co-signed the last one of a finished run.

    `asked` is how many entries of the audit log were about these parameters, 0 where it isn't there.
    """

    manifests: tuple[Manifest, ...]
    last: Digest
    asked: int
    cosigners: tuple[SiteName, ...]


def verify_run(
    folder: RunFolder,
    spec: ModelSpec,
    *,
    coordinator: VerifyingKey,
    site_keys: Mapping[SiteName, VerifyingKey],
) -> VerifiedRun:
    """Return what was found right of a run.

    Raises:
        TrustError: something isn't; the text names the round.
        MalformedMessageError: a file has another form.
    """
    events = folder.journal.read()
    chain = [
        _loaded(folder, number, spec, coordinator)
        for number in range(len(list(folder.checkpoints.glob("[0-9]*"))))
    ]
    manifests = tuple(checkpoint.manifest for checkpoint in chain)
    if not chain:
        raise TrustError(f"{folder.path}: holds no checkpoint")
    _refuse_broken_chain(chain, _beginning(folder, spec, coordinator))
    _refuse_other_run(folder, manifests, events)
    _refuse_other_rounds(chain, events)
    _refuse_other_privacy(manifests[-1], events)
    asked = _refuse_other_questions(folder, chain, spec)
    cosigners: tuple[SiteName, ...] = ()
    if folder.finished:
        cosigners = _cosigners(folder, chain[-1], spec, coordinator, site_keys)
    return VerifiedRun(manifests=manifests, last=chain[-1].digest, asked=asked, cosigners=cosigners)


def _loaded(folder: RunFolder, number: int, spec: ModelSpec, key: VerifyingKey) -> Checkpoint:
    """Steps 1 and 2, of one round."""
    path = folder.checkpoint(number)
    try:
        checkpoint = checkpoints.load(path, spec, key)
        checkpoints.load_iterate(path, checkpoint, spec)
        checkpoints.load_memory(path, checkpoint)
    except TrustError as error:
        raise TrustError(f"round {number}: {error}") from error
    if checkpoint.manifest.round != number:
        raise TrustError(f"round {number}: is that of round {checkpoint.manifest.round}")
    return checkpoint


def _beginning(folder: RunFolder, spec: ModelSpec, key: VerifyingKey) -> Checkpoint | None:
    """Return the checkpoint that the run began with, if it began with one."""
    return checkpoints.load(folder.start, spec, key) if folder.start.exists() else None


def _refuse_broken_chain(chain: Sequence[Checkpoint], start: Checkpoint | None) -> None:
    """Step 1."""
    first = chain[0].manifest
    if first.previous != (start.digest if start else FIRST):
        raise TrustError("round 0: doesn't begin with what is here to begin with")
    if start is not None and first.parameters != start.manifest.parameters:
        raise TrustError("round 0: has other parameters than those that it began with")
    if first.begun_from != (point_of(start) if start else None):
        raise TrustError("round 0: says something else of what it began with")
    for before, after in pairwise(chain):
        if after.manifest.begun_from != first.begun_from:
            raise TrustError(f"round {after.manifest.round}: names another beginning than round 0")
        if after.manifest.previous != before.digest:
            raise TrustError(f"round {after.manifest.round}: doesn't follow the round before it")


def _refuse_other_run(folder: RunFolder, manifests: Iterable[Manifest], events: Iterable[RunEvent]) -> None:
    """Step 3."""
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    if started is None or started.run != folder.run:
        raise TrustError(f"the journal is not that of {folder.run}")
    terms = None
    for manifest in manifests:
        began_with = (started.run, started.rounds, started.settings, started.task.digest, started.model)
        found = (manifest.run, manifest.rounds, manifest.settings, manifest.task, manifest.model)
        if found != began_with or manifest.terms != (terms or manifest.terms):
            raise TrustError(f"round {manifest.round}: is of another run, or under other settings or terms")
        terms = manifest.terms


def _refuse_other_rounds(chain: Sequence[Checkpoint], events: Iterable[RunEvent]) -> None:
    """Step 4."""
    told = {event.round: event for event in events if isinstance(event, RoundPublished)}
    for before, after in pairwise(chain):
        number = after.manifest.round
        event = told.pop(number, None)
        if event is None or event.checkpoint != after.digest:
            raise TrustError(f"round {number}: is not the one that the journal tells of")
        trained = trained_after(number, event.sites, before.manifest.trained)
        if (rollback := after.manifest.rollback) is not None:
            stood = chain[min(max(rollback.to, 0), number - 1)].manifest
            if after.manifest.parameters != stood.parameters or stood.round != rollback.to:
                raise TrustError(f"round {number}: isn't the model that it is said to be rolled back to")
            trained = stood.trained
        if after.manifest.trained != trained:
            raise TrustError(f"round {number}: is of other sites than the journal tells of")
    if told:
        raise TrustError(f"round {min(told)}: the journal tells of it, and its checkpoint is gone")


def _refuse_other_privacy(last: Manifest, events: Iterable[RunEvent]) -> None:
    """Step 5, for the sites that the model is made of."""
    answered = [(event.site, event.privacy) for event in events if isinstance(event, SiteAnswered)]
    stated = {site.site: site.privacy for site in last.sites}
    for trained in last.trained:
        if (trained.site, stated.get(trained.site)) not in answered:
            raise TrustError(f"round {last.round}: {trained.site} never stated this of its privacy")


def _refuse_other_questions(folder: RunFolder, chain: Sequence[Checkpoint], spec: ModelSpec) -> int:
    """Step 6; return how many entries were compared.

    Of a candidate that isn't published, because it was dropped or its round isn't over, nothing is known.
    """
    named: dict[tuple[int, Phase], Digest] = {(0, "statistics"): chain[0].manifest.parameters}
    for checkpoint in chain:
        number = checkpoint.manifest.round
        path = folder.checkpoint(number)
        weights = Weights(
            model_P=checkpoint.parameters_P,
            iterate_P=checkpoints.load_iterate(path, checkpoint, spec),
            memory=checkpoints.load_memory(path, checkpoint),
        )
        named[number + 1, "train"] = body_digest(sent_to_train(weights, checkpoint.manifest.terms))
        if checkpoint.manifest.rollback is None:
            named[number, "evaluate"] = checkpoint.manifest.parameters
    lines = audit_log_in(folder.root).read()
    facts = [line.fact for line in lines if isinstance(line.fact, PlanAsked) and line.fact.run == folder.run]
    # Of a round that isn't over, nothing but its beginning is known.
    end = chain[-1].manifest.round + (0 if folder.finished else 1)
    for fact in facts:
        if fact.round > end or (fact.phase == "statistics") != (fact.round == 0):
            raise TrustError(f"round {fact.round}: the sites were asked to {fact.phase}, which no round did")
        if named.get((fact.round, fact.phase), fact.parameters) != fact.parameters:
            raise TrustError(
                f"round {fact.round}: the sites were asked to {fact.phase} with other parameters"
            )
    forgotten = any(line.entry.event == PlanAsked.__name__ and line.fact is None for line in lines)
    trained = {fact.round for fact in facts if fact.phase == "train"}
    unasked = {checkpoint.manifest.round for checkpoint in chain[1:]} - trained
    if lines and unasked and not forgotten:
        raise TrustError(f"round {min(unasked)}: the audit log doesn't know that it was asked")
    return len(facts)


def _cosigners(
    folder: RunFolder,
    last: Checkpoint,
    spec: ModelSpec,
    coordinator: VerifyingKey,
    site_keys: Mapping[SiteName, VerifyingKey],
) -> tuple[SiteName, ...]:
    """Step 7."""
    if checkpoints.load(folder.path, spec, coordinator).digest != last.digest:
        raise TrustError(f"{folder.path}: the result is not the last checkpoint")
    signers = checkpoints.load_envelope(folder.path).signers(site_keys.values())
    return tuple(site for site, key in sorted(site_keys.items()) if key.fingerprint in signers)
