"""Nothing about a patient can get into a log, because nothing but the list's numbers and names can."""

from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from fed_common.audit_log.facts import FACTS, Fact
from fed_common.audit_log.head import LogHead
from fed_common.errors import ConfigError
from fed_common.names import Digest, RunId, SiteName

HARMLESS = {int, Digest, RunId, SiteName, LogHead}


@pytest.mark.parametrize("kind", FACTS.values(), ids=FACTS)
def test_a_fact_has_no_room_for_free_text(kind: type[Fact]) -> None:
    hints = get_type_hints(kind)
    for field in fields(kind):
        hint = hints[field.name]
        assert hint in HARMLESS or get_origin(hint) is Literal, f"{kind.__name__}.{field.name}: {hint}"


def test_the_list_holds_every_fact() -> None:
    assert set(FACTS.values()) == set(get_args(Fact))


def test_a_head_is_a_count_and_a_hash() -> None:
    with pytest.raises(ConfigError, match="at least 0"):
        LogHead(size=-1, root=Digest("0" * 64))
    for root in ("0" * 63, "0" * 65, "g" * 64, "../" * 10):
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            LogHead(size=1, root=Digest(root))
