"""The table [pacs] allows no line that can be overheard unless somebody says so."""

from typing import Any

import pytest
from pydantic import ValidationError

from fed_client.pacs.config import PacsTable


def table(**values: Any) -> PacsTable:
    return PacsTable.model_validate(values, strict=False)


@pytest.mark.parametrize(
    "values",
    [
        {"url": "https://pacs.example.org/dicom-web"},
        {"url": "http://127.0.0.1:8042/dicom-web"},
        {"url": "http://localhost/dicom-web"},
        {"host": "10.0.0.5", "ca": "ca.crt"},
        {"host": "10.0.0.5", "plain": True},
        {"host": "127.0.0.1", "method": "move"},
        {"url": "https://h", "user": "u", "password_file": "p"},
    ],
)
def test_what_is_safe_or_said_aloud_is_allowed(values: dict[str, Any]) -> None:
    assert table(**values)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "either url"),
        ({"url": "https://h", "host": "h"}, "either url"),
        ({"url": "http://pacs.example.org"}, "must begin with https"),
        ({"url": "ftp://h"}, "must look like"),
        ({"url": "https://user:word@h"}, "no password"),
        ({"host": "10.0.0.5"}, "needs ca"),
        ({"host": "10.0.0.5", "plain": True, "method": "move"}, "opens a port"),
        ({"url": "https://h", "user": "u"}, "go together"),
        ({"host": "127.0.0.1", "calling_ae": "A\\B"}, "calling_ae"),
        ({"host": "127.0.0.1", "port": 0}, "port"),
    ],
)
def test_what_can_be_overheard_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        table(**values)
