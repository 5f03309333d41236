"""A model file is read as a stranger's: exactly what the network demands, or one line that says why not."""

import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
from safetensors.numpy import load, save
from tests.fakes import FIRST_P, MODEL
from tests.released_models import MODEL_BYTES

from fed_common.artefacts.tensors import MAX_HEADER_BYTES, parameters_of
from fed_common.errors import MalformedMessageError
from fed_common.layout import layout_of
from fed_common.models import build_model

LAYOUT = (("a", (2, 3)), ("b", (4,)))
TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float32)}
DATA = save(TENSORS)[-40:]
Header = dict[str, dict[str, object]]


def header() -> Header:
    return {
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [4], "data_offsets": [24, 40]},
    }


def file_of(raw_header: bytes, data: bytes = DATA) -> bytes:
    return struct.pack("<Q", len(raw_header)) + raw_header + data


def test_the_library_and_this_reader_agree() -> None:
    read_P = parameters_of(MODEL_BYTES, layout_of(build_model(MODEL)))
    assert np.array_equal(read_P, FIRST_P)
    assert np.array_equal(parameters_of(save(TENSORS), LAYOUT), [0, 1, 2, 3, 4, 5, 1, 1, 1, 1])


def test_the_order_of_the_data_is_the_file_s_own() -> None:
    swapped = header()
    swapped["b"]["data_offsets"], swapped["a"]["data_offsets"] = [0, 16], [16, 40]
    raw = file_of(json.dumps(swapped).encode(), DATA[24:] + DATA[:24])
    library = load(raw)
    expected_P = np.concatenate([library["a"].ravel(), library["b"]])
    assert np.array_equal(parameters_of(raw, LAYOUT), expected_P)


def changed(name: str, key: str, value: object) -> Callable[[Header], None]:
    def change(entries: Header) -> None:
        entries[name][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed("a", "dtype", "F16"), "must be F32"),
        (changed("a", "dtype", "BOOL"), "must be F32"),
        (changed("a", "shape", [3, 2]), "must have the shape"),
        (changed("b", "shape", [True, 4]), "lists of integers"),
        (changed("b", "shape", [4.0]), "lists of integers"),
        (changed("b", "data_offsets", [20, 36]), "overlap"),
        (changed("b", "data_offsets", [28, 44]), "leave a gap"),
        (changed("b", "data_offsets", [24, 44]), "must have 16 bytes"),
        (changed("b", "data_offsets", [40, 24]), "begin before it ends"),
        (changed("b", "data_offsets", [-16, 0]), "begin before it ends"),
        (changed("b", "data_offsets", [10**30, 10**30 + 16]), "leave a gap"),
        (changed("b", "more", 1), "must have dtype"),
        (lambda entries: entries.pop("b"), "tensor b is missing"),
        (lambda entries: entries.update(c=entries["b"]), "'c' is no tensor of the model"),
        (lambda entries: entries.update(__metadata__={}), "'__metadata__' is no tensor"),
    ],
)
def test_a_header_of_another_form_is_refused(change: Callable[[Header], object], reason: str) -> None:
    entries = header()
    change(entries)
    with pytest.raises(MalformedMessageError, match=reason):
        parameters_of(file_of(json.dumps(entries).encode()), LAYOUT)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "cut short"),
        (struct.pack("<Q", 1 << 30), f"at most {MAX_HEADER_BYTES}"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", f"at most {MAX_HEADER_BYTES}"),
        (struct.pack("<Q", 50) + b"{}", "cut short"),
        (file_of(b"[" * 100_000), "no JSON"),
        (file_of(b"[]"), "no JSON object"),
        (file_of(json.dumps(header()).encode("utf-16")), "no JSON"),
        (file_of(b'{"a":{},"a":{}}'), "a key twice"),
        (file_of(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "a key twice"),
        (file_of(b'{"a":' + b"9" * 5000 + b"}"), "no JSON"),
        (file_of(json.dumps(header()).encode(), DATA + b"\0"), "41 bytes of data"),
        (file_of(json.dumps(header()).encode(), DATA[:-1]), "39 bytes of data"),
        (b"\x80\x04cos\ngetcwd\n(tR.", "a pickle"),
        (b"PK\x03\x04archive/data.pkl", "a pickle"),
    ],
)
def test_a_file_of_another_form_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessageError, match=reason):
        parameters_of(raw, LAYOUT)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    spoilt = TENSORS | {"b": np.full(4, number, np.float32)}
    with pytest.raises(MalformedMessageError, match="finite"):
        parameters_of(save(spoilt), LAYOUT)
