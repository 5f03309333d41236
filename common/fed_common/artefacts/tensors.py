"""Reads a model file as a stranger's: nothing in it is believed that the network doesn't demand.

    8 bytes: length of the header | header: JSON | data: little-endian float32, tensor after tensor

A file is read in this order, and nothing is allocated by its word:

1. its length, and that of the header, which has a limit;
2. the header: JSON without a key twice, and the tensors of the network, no more and no fewer;
3. each tensor: its type and shape, and as many bytes as they need;
4. the data: without a gap, an overlap, or anything behind them;
5. the numbers: all finite.

Source: https://github.com/huggingface/safetensors#format
"""

import json
import math
import struct
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from fed_common.errors import MalformedMessageError, TrustError
from fed_common.layout import Layout, from_tensors, num_parameters

MAX_HEADER_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")
_PICKLES = (b"\x80", b"PK\x03\x04")


def read_model_file(path: Path, layout: Layout) -> bytes:
    """Return the file, if it isn't longer than a model of the layout can be.

    Raises:
        TrustError: it can't be read, or is longer.
    """
    limit = _LENGTH.size + MAX_HEADER_BYTES + 4 * num_parameters(layout)
    try:
        with path.open("rb") as file:
            contents = file.read(limit + 1)
    except OSError as error:
        raise TrustError(f"{path.parent}: not a whole checkpoint ({error.strerror})") from error
    if len(contents) > limit:
        raise TrustError(f"{path}: more than {limit} bytes, longer than the model")
    return contents


def parameters_of(contents: bytes, layout: Layout) -> NDArray[np.float32]:
    """Return the parameters in a safetensors file as one vector.

    Raises:
        MalformedMessageError: it is another file than the layout asks for; the text says in what.
    """
    if len(contents) < _LENGTH.size:  # 1
        _refuse("it is cut short")
    (length,) = _LENGTH.unpack_from(contents)
    if length > MAX_HEADER_BYTES and contents.startswith(_PICKLES):
        _refuse("a pickle, which runs code when it is opened; save it as safetensors")
    if length > MAX_HEADER_BYTES:
        _refuse(f"its header has {length} bytes, at most {MAX_HEADER_BYTES} are read")
    start = _LENGTH.size + length
    if len(contents) < start:
        _refuse("it is cut short")
    places = _places(_header(contents[_LENGTH.size : start]), layout)
    _refuse_gaps(places, len(contents) - start)  # 4
    tensors = {
        name: np.frombuffer(contents, dtype="<f4", count=math.prod(shape), offset=start + places[name][0])
        .reshape(shape)
        .astype(np.float32)
        for name, shape in layout
    }
    return from_tensors(tensors, layout)  # 5


def _header(raw: bytes) -> dict[str, object]:
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise MalformedMessageError("not a safetensors file of this model: its header is no JSON") from error
    if not isinstance(header, dict):
        _refuse("its header is no JSON object")
    return header


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        _refuse("its header has a key twice")
    return keys


def _places(header: dict[str, object], layout: Layout) -> dict[str, tuple[int, int]]:
    """Return where each tensor's data begin and end (steps 2 and 3)."""
    names = {name for name, _ in layout}
    if unknown := sorted(header.keys() - names):
        _refuse(f"{unknown[0][:80]!r} is no tensor of the model")
    if missing := sorted(names - header.keys()):
        _refuse(f"tensor {missing[0]} is missing")
    return {name: _place(name, header[name], shape) for name, shape in layout}


def _place(name: str, entry: object, shape: tuple[int, ...]) -> tuple[int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _refuse(f"tensor {name} must have dtype, shape and data_offsets")
    if entry["dtype"] != "F32":
        _refuse(f"tensor {name} must be F32")
    if _integers(entry["shape"]) != list(shape):
        _refuse(f"tensor {name} must have the shape {list(shape)}")
    offsets = _integers(entry["data_offsets"])
    if len(offsets) != 2 or not 0 <= offsets[0] <= offsets[1]:
        _refuse(f"tensor {name} must begin before it ends")
    begin, end = offsets
    if end - begin != 4 * math.prod(shape):
        _refuse(f"tensor {name} must have {4 * math.prod(shape)} bytes")
    return begin, end


def _integers(value: object) -> list[int]:
    if not isinstance(value, list) or not all(type(number) is int for number in value):
        _refuse("shapes and offsets must be lists of integers")
    return value


def _refuse_gaps(places: dict[str, tuple[int, int]], size: int) -> None:
    expected = 0
    for begin, end in sorted(places.values()):
        if begin != expected:
            _refuse("its tensors overlap, or leave a gap")
        expected = end
    if expected != size:
        _refuse(f"it has {size} bytes of data, its tensors {expected}")


def _refuse(reason: str) -> NoReturn:
    raise MalformedMessageError(f"not a safetensors file of this model: {reason}")
