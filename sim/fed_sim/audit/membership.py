"""Asks of a trained model who was in its training: by loss, and by likelihood ratios from shadow models.

Pictures are noise and labels are coins, so that a model can only learn them one by one: it is the attack's
best case. Each of several models, all trained by the site's own code, has its own half of the people.

Source: Yeom et al., "Privacy Risk in Machine Learning" (2018), for the loss; Carlini et al., "Membership
Inference Attacks From First Principles" (2022), for the likelihood ratio, here with one variance for all.
"""

# Shape letters: M models, N people, K classes, P parameters of the flattened model.

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta, norm

from fed_client.dataset import LabelledImages
from fed_common import seeds
from fed_common.audit import Attack
from fed_common.layout import load_flat
from fed_common.messages import PrivacyStatement
from fed_common.metrics import Estimate, exact_auc
from fed_common.models import build_model, initial_parameters
from fed_common.plans import DpTerms
from fed_sim.audit.asking import ask, train_terms
from fed_sim.audit.canaries import SPEC
from fed_sim.audit.hospital import SiteParts
from fed_sim.audit.readings import WithoutNoise

_PEOPLE = 100
_MODELS = 8
_FALSE_POSITIVES = 0.01
# Epsilon is about 2; without noise, the same steps learn each picture by heart.
_TERMS = DpTerms(noise_multiplier=6.0, clip_norm=1.0, sampling_rate=0.5, steps=40, max_images_per_patient=1)
# Of 0.02, some runs without noise learnt too little to tell anything; half as much again finds everybody.
_STEP_LENGTH = 0.03

Scores = NDArray[np.float64]
Members = NDArray[np.bool_]


def infer_membership(parts: SiteParts) -> tuple[Attack, ...]:
    """Return how well both attacks tell members from others, against what the site's epsilon allows."""
    members_MN = _members()
    protected_MN, claimed = _confidences(parts, members_MN)
    off = replace(parts, randomness=WithoutNoise(parts.randomness))
    unprotected_MN, _ = _confidences(off, members_MN)
    attacks = []
    for name, attack in (("loss", _by_loss), ("likelihood ratio", _by_likelihood_ratio)):
        on, without = attack(protected_MN, members_MN), attack(unprotected_MN, members_MN)
        attacks.append(
            Attack(
                what=f"membership by {name}: area under the curve",
                protected=exact_auc(on.ravel(), members_MN.ravel()),
                unprotected=exact_auc(without.ravel(), members_MN.ravel()),
                limit=largest_area(claimed.epsilon, claimed.delta),
            )
        )
        attacks.append(
            Attack(
                what=f"membership by {name}: members found at 1 % false alarms",
                protected=_found(on, members_MN),
                unprotected=_found(without, members_MN),
                limit=float(np.exp(claimed.epsilon)) * _FALSE_POSITIVES + claimed.delta,
            )
        )
    return tuple(attacks)


def largest_area(epsilon: float, delta: float) -> float:
    """Return the largest area under a ROC curve that (epsilon, delta) allows.

    Source: the trade-off function of Dong, Roth and Su, "Gaussian Differential Privacy" (2022), equation 5.
    """
    false_positives = np.linspace(0, 1, 10_001)
    missed = np.maximum(1 - delta - np.exp(epsilon) * false_positives, 0)
    missed = np.maximum(missed, np.exp(-epsilon) * (1 - delta - false_positives))
    return float(1 - np.trapezoid(missed, false_positives))


def _members() -> Members:
    """Return who is in the training of which model: each in half of them."""
    halves_NM = np.tile(np.arange(_MODELS) % 2 == 1, (_PEOPLE, 1))
    return seeds.stream(0, "members of the audit").permuted(halves_NM, axis=1).T


def _confidences(parts: SiteParts, members_MN: Members) -> tuple[Scores, PrivacyStatement]:
    """Return how sure each model is of each one's label (log odds), and what the site stated last."""
    rng = seeds.stream(0, "people of the audit")
    pixels = torch.from_numpy(rng.normal(size=(_PEOPLE, 1, SPEC.size, SPEC.size))).float()
    labels_N = torch.from_numpy(rng.integers(0, 2, _PEOPLE))
    start_P = initial_parameters(SPEC, seed=0)
    confidences = []
    for members_N in members_MN:
        chosen_N = torch.from_numpy(np.flatnonzero(members_N))
        images = LabelledImages(
            images_NCHW=pixels[chosen_N],
            labels_N=labels_N[chosen_N],
            patients_N=torch.arange(len(chosen_N)),
            num_patients=len(chosen_N),
        )
        (told,) = ask(
            parts, images, parameters_P=start_P, terms=train_terms(_TERMS, step_length=_STEP_LENGTH)
        )
        model = build_model(SPEC)
        load_flat(model, start_P - _STEP_LENGTH * told.sum_P)
        with torch.no_grad():
            logits_NK = model(pixels).double()
        confidences.append(_log_odds(logits_NK, labels_N).numpy())
    return np.stack(confidences), told.privacy


def _log_odds(logits_NK: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Return how sure the model is of each one's label; of two classes, it orders people as the loss does."""
    own_N = logits_NK[torch.arange(len(labels_N)), labels_N]
    return 2 * own_N - logits_NK.sum(dim=1)


def _by_loss(confidences_MN: Scores, _members_MN: Members) -> Scores:
    return confidences_MN


def _by_likelihood_ratio(confidences_MN: Scores, members_MN: Members) -> Scores:
    """Return for each model the log likelihood ratio by what the other models show of the same people."""
    ratios = np.empty_like(confidences_MN)
    for target in range(len(confidences_MN)):
        rest = np.arange(len(confidences_MN)) != target
        shadows_MN, in_MN = confidences_MN[rest], members_MN[rest]
        logs = []
        for group_MN in (in_MN, ~in_MN):
            means_N = np.mean(shadows_MN, axis=0, where=group_MN)
            std = np.sqrt(np.mean((shadows_MN - means_N) ** 2, where=group_MN))
            logs.append(norm.logpdf(confidences_MN[target], means_N, std))
        ratios[target] = logs[0] - logs[1]
    return ratios


def _found(scores_MN: Scores, members_MN: Members) -> Estimate:
    """Return the share of members above the score that 1 % of the others exceed.

    The interval is that of Clopper and Pearson (1934).
    """
    threshold = np.quantile(scores_MN[~members_MN], 1 - _FALSE_POSITIVES, method="higher")
    above = scores_MN[members_MN] > threshold
    found, count = int(above.sum()), above.size
    low = beta.ppf(0.025, found, count - found + 1) if found else 0.0
    high = beta.ppf(0.975, found + 1, count - found) if found < count else 1.0
    return Estimate(value=found / count, low=float(low), high=float(high))
