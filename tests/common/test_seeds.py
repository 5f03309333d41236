from fed_common.seeds import stream


def test_a_purpose_gets_the_same_numbers_again() -> None:
    # The numbers themselves are pinned: published results name a seed.
    assert stream(7, "partition").integers(1000, size=4).tolist() == [603, 427, 196, 931]


def test_another_purpose_or_seed_gets_other_numbers() -> None:
    drawn = {
        tuple(stream(seed, purpose).integers(1000, size=4)) for seed in (1, 2, 11) for purpose in ("a", "1/a")
    }

    assert len(drawn) == 6
