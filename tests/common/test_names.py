"""Names that could lead a path or a log astray are refused where they enter."""

import pytest

from fed_common.errors import ConfigError
from fed_common.names import body_digest, run_id, site_name


@pytest.mark.parametrize("text", ["", "North", "../north", "-north", "n" * 64, "no rth"])
def test_what_is_no_name_is_refused(text: str) -> None:
    for checked in (site_name, run_id):
        with pytest.raises(ConfigError, match=r"name|run id"):
            checked(text)


@pytest.mark.parametrize("text", ["coordinator", "stranger"])
def test_no_site_is_called_like_another_actor_of_the_audit_log(text: str) -> None:
    with pytest.raises(ConfigError, match=f"called {text}"):
        site_name(text)
    assert site_name(f"{text}-2") == f"{text}-2"


def test_the_digest_of_a_body_is_blake3_of_any_bytes() -> None:
    # Source: the test vectors of BLAKE3, of no input.
    assert body_digest(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert body_digest(memoryview(b"abcd")[1:3]) == body_digest(b"bc") != body_digest(b"bd")
