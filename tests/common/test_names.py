"""Names that could lead a path or a log astray are refused where they enter."""

import pytest

from fed_common.errors import ConfigError
from fed_common.names import run_id, site_name


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
