from fed_common.names import Digest
from fed_common.pki.words import six_words


def test_known_bytes_have_the_words_of_the_pgp_list() -> None:
    # The list's own example: E582 94F2 E9A2 is "topmost Istanbul Pluto vagabond treadmill Pacific".
    fingerprint = Digest("e58294f2e9a2" + "00" * 26)
    assert six_words(fingerprint) == "topmost istanbul pluto vagabond treadmill pacific"


def test_every_byte_has_a_word_of_its_own_in_both_lists() -> None:
    def words(byte: int) -> list[str]:
        return six_words(Digest(f"{byte:02x}" * 32)).split()

    assert len({words(byte)[0] for byte in range(256)}) == len({words(byte)[1] for byte in range(256)}) == 256
    assert not {words(byte)[0] for byte in range(256)} & {words(byte)[1] for byte in range(256)}
