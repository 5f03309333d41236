"""Says in plain words for which hospital learning together didn't help, and by how much it may yet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fed_common.metrics import Estimate
from fed_sim.experiments.cell import epsilon_in_words
from fed_sim.experiments.figures import Evidence, FigureName, Way


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the best of some ways has more than another, on one hospital's own test patients.

    The best is chosen by the same patients, which flatters it.
    """

    hospital: str
    epsilon: float
    best: Way
    against: Way
    figure: FigureName
    gain: Estimate

    @property
    def helps(self) -> bool:
        """Tell whether the gain of the best is beyond chance, as if nobody had chosen it."""
        return self.gain.low > 0


def verdicts(evidence: Evidence) -> Iterator[Verdict]:
    """Yield at each budget, for each hospital: learning together against alone, personal against shared."""
    alone = [way for way in evidence.ways if way.arm == "local"]
    shared = [way for way in evidence.ways if way.arm == "federated" and not way.personal]
    personal = [way for way in evidence.ways if way.personal]
    for epsilon in evidence.epsilons:
        for hospital in evidence.hospitals:
            for ways, others in ((shared, alone), (personal, alone), (personal, shared)):
                found = _verdict(evidence, ways, others, epsilon=epsilon, hospital=hospital)
                if found is not None:
                    yield found


def _verdict(
    evidence: Evidence, ways: Sequence[Way], others: Sequence[Way], *, epsilon: float, hospital: str
) -> Verdict | None:
    """Return what the best of `ways` has more than the best of `others`; by AUC, if it is defined there."""
    figures: tuple[FigureName, ...] = ("auc", "accuracy")
    for figure in figures:

        def ranked(group: Sequence[Way], figure: FigureName = figure) -> list[tuple[float, Way]]:
            rows = [row for way in group if (row := evidence.row(way, epsilon, hospital)) is not None]
            known = [(row.figure(figure), row.way) for row in rows]
            return sorted(
                ((estimate.value, way) for estimate, way in known if estimate is not None),
                key=lambda pair: -pair[0],
            )

        if not (ranked(ways) and ranked(others)):
            continue
        best, against = ranked(ways)[0][1], ranked(others)[0][1]
        gain = evidence.difference(best, against, epsilon=epsilon, where=hospital, figure=figure)
        if gain is not None:
            return Verdict(
                hospital=hospital, epsilon=epsilon, best=best, against=against, figure=figure, gain=gain
            )
    return None


def in_words(verdict: Verdict, *, choices: int) -> str:
    """Return the sentence about one hospital that a way didn't help; `choices` were tried."""
    what = "Personalisation" if verdict.best.personal else "Learning together"
    how = "makes it worse" if verdict.gain.high < 0 else "isn't shown to help"
    figure = "AUC" if verdict.figure == "auc" else "accuracy"
    best = f"{verdict.best}, the best of {choices}" if choices > 1 else str(verdict.best)
    than = "training alone" if verdict.against.arm == "local" else f"the shared model ({verdict.against})"
    gain = verdict.gain
    return (
        f"{verdict.hospital}, {epsilon_in_words(verdict.epsilon)}: {what.lower()} {how}. Against {than}, "
        f"{best} changes its {figure} by {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]."
    ).replace("-0.", "\N{MINUS SIGN}0.")
