import numpy as np
import pytest

from fed_common.errors import ConfigError, DataError
from fed_common.seeds import stream
from fed_sim.partition import (
    ByPatient,
    ConceptShifted,
    LabelSkewed,
    MissingClasses,
    Natural,
    Partition,
    ScannerShifted,
    SizeSkewed,
    divide,
)
from fed_sim.partition.concept_shift import called_negative
from fed_sim.partition.scanner_shift import shifted_scanner
from fed_sim.partition.table import partition_of

CLASS_OF = {f"patient-{number}": "sick" if number % 3 == 0 else "well" for number in range(300)}

every_partition = pytest.mark.parametrize(
    "partition",
    [
        ByPatient(),
        LabelSkewed(alpha=0.1),
        SizeSkewed(ratio=8),
        MissingClasses(classes=1),
        ScannerShifted(strength=1),
        ConceptShifted(share=1),
    ],
    ids=lambda p: type(p).__name__,
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


def test_by_site_every_patient_is_where_the_source_says() -> None:
    site_of = {patient: f"town-{int(patient[8:]) % 7}" for patient in CLASS_OF}

    groups = divide(CLASS_OF, Natural(), sites=3, rng=stream(1, "test"), site_of=site_of)

    assert [{site_of[patient] for patient in group} for group in groups] == [
        {f"town-{number}"} for number in range(7)
    ]
    assert sum(map(len, groups)) == len(CLASS_OF)


def test_a_patient_without_a_site_is_refused() -> None:
    with pytest.raises(DataError, match="column site must name the site of every patient, 299 have none"):
        divide(CLASS_OF, Natural(), sites=3, rng=stream(1, "test"), site_of={"patient-0": "town"})


def test_with_missing_classes_each_hospital_sees_as_many_as_it_may_and_all_are_seen() -> None:
    class_of = {f"patient-{number}": f"class-{number % 5}" for number in range(200)}

    groups = divide(class_of, MissingClasses(classes=2), sites=4, rng=stream(1, "test"))

    seen = [{class_of[patient] for patient in group} for group in groups]
    assert [len(classes) for classes in seen] == [2, 2, 2, 2]
    assert set().union(*seen) == set(class_of.values())
    # 40 patients of each class; three of the five are shared by two hospitals.
    assert sorted(map(len, groups)) == [40, 40, 60, 60]


@pytest.mark.parametrize(("classes", "sites"), [(2, 4), (1, 1)])
def test_hospitals_that_miss_no_class_or_together_one_are_refused(classes: int, sites: int) -> None:
    with pytest.raises(DataError, match="must miss one of 2 and together see all"):
        dealt(MissingClasses(classes=classes), sites=sites)


def test_from_hospital_to_hospital_scanners_show_less() -> None:
    grey_HW = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    seen = [
        shifted_scanner(index, sites=4, strength=1.0).scan(grey_HW, stream(1, "scan")).astype(float)
        for index in range(4)
    ]
    differences = [float(np.abs(picture_HW - grey_HW).mean()) for picture_HW in seen]

    assert differences[0] == 0
    assert differences == sorted(differences)
    # Half the contrast: a mean distance from middle grey of 64 becomes 32, and noise adds to it.
    assert 30 < np.abs(seen[3] - 127.5).mean() < 40


def test_stricter_readers_call_the_darkest_negative() -> None:
    brightness = {f"p{number}": float(number) for number in range(8)}

    def denied(index: int) -> frozenset[str]:
        return called_negative(list(brightness), brightness, index=index, sites=3, share=0.5)

    assert [denied(index) for index in range(3)] == [
        frozenset(),
        {"p0", "p1"},
        {"p0", "p1", "p2", "p3"},
    ]


@pytest.mark.parametrize("strength", [0.0, 1.1, float("nan")])
def test_shifts_without_meaning_are_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match="strength"):
        ScannerShifted(strength=strength)
    with pytest.raises(ConfigError, match="share"):
        ConceptShifted(share=strength)


def test_a_number_that_a_kind_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no skew"):
        partition_of("natural", skew=1.0, column="site")
    with pytest.raises(ConfigError, match="whole number"):
        partition_of("missing-classes", skew=1.5, column="site")
    with pytest.raises(ConfigError, match="at least 1 class"):
        partition_of("missing-classes", skew=0.0, column="site")
