"""Stricter terms with which a site may answer, and the test that they are stricter and nothing else."""

from dataclasses import dataclass, replace

from fed_common.plans import DpTerms, EvaluationTerms, Terms, TrainTerms


@dataclass(frozen=True, kw_only=True)
class Tightened:
    """The terms with which a site worked, in place of those asked, and the limits that made it do so."""

    terms: Terms
    codes: tuple[str, ...]


def is_as_strict(terms: Terms, asked: Terms) -> bool:
    """Tell whether `terms` protect each patient at least as well as `asked`, and differ in nothing else."""
    if isinstance(terms, TrainTerms) and isinstance(asked, TrainTerms):
        return replace(terms, dp=asked.dp) == asked and _is_as_strict(terms.dp, asked.dp)
    if isinstance(terms, TrainTerms) or isinstance(asked, TrainTerms) or type(terms) is not type(asked):
        return False
    if not terms.noise_multiplier >= asked.noise_multiplier:
        return False
    if isinstance(terms, EvaluationTerms) and terms.fine_tuning is not None:
        # of the same kind, as was just seen
        if not (isinstance(asked, EvaluationTerms) and asked.fine_tuning is not None):
            return False
        if not is_as_strict(terms.fine_tuning, asked.fine_tuning):
            return False
        terms = replace(terms, fine_tuning=asked.fine_tuning)
    return replace(terms, noise_multiplier=asked.noise_multiplier) == asked


def _is_as_strict(dp: DpTerms, asked: DpTerms) -> bool:
    return (
        dp.noise_multiplier >= asked.noise_multiplier
        and dp.clip_norm <= asked.clip_norm
        and dp.sampling_rate <= asked.sampling_rate
        and dp.steps <= asked.steps
        and dp.max_images_per_patient <= asked.max_images_per_patient
    )
