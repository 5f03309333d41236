import numpy as np
import pytest

from fed_common.errors import ConfigError, DataError
from fed_common.seeds import stream
from fed_sim.partition import ByPatient, LabelSkewed, Partition, SizeSkewed, divide

CLASS_OF = {f"patient-{number}": "sick" if number % 3 == 0 else "well" for number in range(300)}

every_partition = pytest.mark.parametrize(
    "partition", [ByPatient(), LabelSkewed(alpha=0.1), SizeSkewed(ratio=8)], ids=lambda p: type(p).__name__
)


def dealt(partition: Partition, *, sites: int = 4, seed: int = 1) -> tuple[tuple[str, ...], ...]:
    return divide(CLASS_OF, partition, sites=sites, rng=stream(seed, "test"))


def sick_shares(groups: tuple[tuple[str, ...], ...]) -> list[float]:
    return [float(np.mean([CLASS_OF[patient] == "sick" for patient in group])) for group in groups]


@every_partition
def test_every_patient_is_in_exactly_one_hospital(partition: Partition) -> None:
    groups = dealt(partition)

    everyone = [patient for group in groups for patient in group]
    assert len(everyone) == len(CLASS_OF)
    assert set(everyone) == set(CLASS_OF)


@every_partition
def test_equal_seeds_deal_equally_whatever_the_order_of_the_patients(partition: Partition) -> None:
    backwards = dict(reversed(CLASS_OF.items()))

    again = divide(backwards, partition, sites=4, rng=stream(1, "test"))

    assert again == dealt(partition)
    assert again != dealt(partition, seed=2)


@every_partition
def test_no_hospital_is_empty_even_with_as_many_hospitals_as_patients(partition: Partition) -> None:
    few = dict(list(CLASS_OF.items())[:5])

    groups = divide(few, partition, sites=5, rng=stream(1, "test"))

    assert [len(group) for group in groups] == [1] * 5


def test_by_patient_the_hospitals_are_of_equal_size() -> None:
    assert [len(group) for group in dealt(ByPatient())] == [75] * 4


def test_size_skew_gives_the_last_hospital_ratio_times_the_first() -> None:
    sizes = [len(group) for group in dealt(SizeSkewed(ratio=8))]

    # 300 patients in the proportions 1, 2, 4, 8.
    assert sizes == [20, 40, 80, 160]


def test_a_small_alpha_makes_class_balances_differ_and_a_large_one_makes_them_alike() -> None:
    strong = [np.ptp(sick_shares(dealt(LabelSkewed(alpha=0.1), seed=seed))) for seed in range(10)]
    weak = [np.ptp(sick_shares(dealt(LabelSkewed(alpha=1000), seed=seed))) for seed in range(10)]

    assert np.mean(strong) > 0.5
    assert np.mean(weak) < 0.1


@pytest.mark.parametrize("sites", [0, 301])
def test_more_hospitals_than_patients_or_none_are_refused(sites: int) -> None:
    with pytest.raises(DataError, match=r"sites must be in \[1, 300\]"):
        dealt(ByPatient(), sites=sites)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_an_alpha_without_meaning_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha"):
        LabelSkewed(alpha=alpha)


@pytest.mark.parametrize("ratio", [0.5, float("nan"), float("inf")])
def test_a_ratio_without_meaning_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match="ratio"):
        SizeSkewed(ratio=ratio)
