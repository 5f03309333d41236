"""A server optimizer's step is that of its paper, and what makes no sense is refused with the reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from tests.server.runs import SETTINGS

from fed_common.config import ConfigTable, load_config
from fed_common.errors import ConfigError
from fed_common.local_methods import Proximal
from fed_server.algorithms import Algorithm, AlgorithmTable, FedAvg, MeanOfRound, Memory
from fed_server.settings import RunSettings

MEANS_TP = np.random.default_rng(0).normal(size=(6, 3))


def algorithm(**keys: object) -> Algorithm:
    table: Algorithm = TypeAdapter(AlgorithmTable).validate_python(keys)
    return table


def steps(of: Algorithm, means_TP: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the steps of successive rounds."""
    memory: Memory = {}
    taken = []
    for mean_P in means_TP:
        step_P, memory = of.step(MeanOfRound(values_P=mean_P, share=1.0, path=1.0), memory)
        taken.append(step_P)
    return np.array(taken)


@pytest.mark.parametrize("name", ["fedavg", "fedsgd"])
def test_the_plain_step_is_the_mean_to_the_bit(name: str) -> None:
    assert np.array_equal(steps(algorithm(name=name), MEANS_TP), MEANS_TP)


def test_fedavgm_is_torchs_sgd_with_momentum_on_minus_the_mean() -> None:
    weights_P = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weights_P], lr=0.7, momentum=0.8)
    for mean_P in MEANS_TP:
        weights_P.grad = -torch.from_numpy(mean_P)
        optimizer.step()

    moved_P = steps(algorithm(name="fedavgm", momentum=0.8, learning_rate=0.7), MEANS_TP).sum(axis=0)

    np.testing.assert_allclose(moved_P, weights_P.detach().numpy(), rtol=1e-6)


def test_fedadam_of_a_constant_update_is_its_geometric_sum() -> None:
    mean, rate, beta_1, beta_2, tau = 0.3, 0.1, 0.9, 0.95, 0.01
    adam = algorithm(name="fedadam", learning_rate=rate, beta_1=beta_1, beta_2=beta_2, tau=tau)

    rounds = np.arange(1, 6)
    first = (1 - beta_1**rounds) * mean
    second = beta_2**rounds * tau**2 + (1 - beta_2**rounds) * mean**2
    expected = rate * first / (np.sqrt(second) + tau)
    np.testing.assert_allclose(steps(adam, np.full((5, 1), mean))[:, 0], expected, rtol=1e-6)


def test_fedyogi_takes_in_a_larger_update_step_by_step_and_forgets_it_no_faster() -> None:
    rate, beta_1, beta_2, tau = 0.1, 0.0, 0.95, 0.01
    yogi = algorithm(name="fedyogi", learning_rate=rate, beta_1=beta_1, beta_2=beta_2, tau=tau)
    large, small = 0.5, 0.02
    means = np.array([large, large, small, small])

    second = tau**2 + (1 - beta_2) * np.array(
        [large**2, 2 * large**2, 2 * large**2 - small**2, 2 * large**2 - 2 * small**2]
    )
    expected = rate * means / (np.sqrt(second) + tau)
    np.testing.assert_allclose(steps(yogi, means[:, None])[:, 0], expected, rtol=1e-6)


def with_algorithm(of: Algorithm, **training: object) -> RunSettings:
    return replace(SETTINGS, algorithm=of, training=SETTINGS.training.model_copy(update=training))


@pytest.mark.parametrize(
    ("keys", "training", "reason"),
    [
        ({"name": "fednova"}, {}, 'the same as "fedavg": all sites take 1 steps'),
        ({"name": "fedsgd"}, {"steps_per_round": 2}, "steps_per_round must be 1, got 2"),
        ({"name": "fedprox", "mu": 0.2}, {"learning_rate": 10.0}, "mu must be at most .* = 0.1, got 0.2"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    keys: dict[str, object], training: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        with_algorithm(algorithm(**keys), **training)


def test_a_plan_tells_sites_of_fedprox_and_of_no_server_optimizer() -> None:
    assert with_algorithm(algorithm(name="fedprox", mu=0.1)).train_terms().method == Proximal(mu=0.1)
    assert with_algorithm(algorithm(name="fedadam", learning_rate=0.1)).train_terms().method is None


def test_the_digest_of_settings_changes_only_with_an_algorithm() -> None:
    assert with_algorithm(FedAvg()).digest == SETTINGS.digest
    digests = {with_algorithm(algorithm(name="fedprox", mu=mu)).digest for mu in (0.1, 0.2)} | {
        SETTINGS.digest
    }
    assert len(digests) == 3


class File(ConfigTable):
    algorithm: AlgorithmTable = FedAvg()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('name = "fedprox"\nmuu = 0.1', "unknown key .*; did you mean 'mu'"),
        ('name = "fedprox"', "mu is missing"),
        ('name = "fedprox"\nmu = 0.0', "mu: .*greater than 0"),
        ('name = "fedadam"\nlearning_rate = 0.1\nbeta_2 = 1.0', "beta_2: .*less than 1"),
        ('name = "fedavgm"\nmomentum = 1.0', "momentum: .*less than 1"),
        ('name = "fedavg"\nmu = 0.1', "unknown key .*; allowed: name"),
        ('name = "fedaverage"', "'fedavg'"),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "file.toml").write_text(f"[algorithm]\n{text}\n")
    with pytest.raises(ConfigError, match=hint):
        load_config(tmp_path / "file.toml", File)
