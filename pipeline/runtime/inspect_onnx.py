"""An ONNX file looked at before a library reads it: whole, self-contained, and no larger inside than outside.

Only lengths and sizes are walked (https://protobuf.dev/programming-guides/encoding, onnx.proto3); no value is decoded
and nothing is allocated for what the file claims. What operators may make of their inputs is not bounded by this.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.errors import DataError

MAX_DEPTH = 16  # graphs in attributes of nodes of graphs; a detector needs two or three
MAX_FIELDS = 2_000_000  # of all messages; the graphs of detectors have some thousands
# Kind of message -> number of a field -> what it holds, as far as a tensor can be inside.
NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
DIMS, TYPE, RAW, EXTERNAL, LOCATION = 1, 2, 9, 13, 14  # fields of a tensor
TYPED = frozenset({4, 5, 6, 7, 10, 11})  # its values, where they are not raw
BITS = {
    **dict.fromkeys((11, 13, 7, 14), 64), 15: 128, **dict.fromkeys((1, 6, 12), 32), **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8), **dict.fromkeys((21, 22, 23), 4), **dict.fromkeys((25, 26), 2),
}  # fmt: skip  # a type of onnx.TensorProto -> bits of one value
STRING = 8

Field = tuple[int, int, memoryview]  # number, value of a varint, bytes of anything else


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """Why the bytes are refused."""


def check_onnx(data: bytes, path: Path) -> None:
    """Look at a file before it is loaded.

    Args:
        data: the file.
        path: its name, for messages.

    Raises:
        DataError: it is truncated or no ONNX file, keeps weights in another file, or declares a tensor larger than the
            bytes that are there.
    """
    try:
        found = _Walk().message("model", memoryview(data), 0)
    except _Broken as problem:
        raise DataError(f"{path} is refused before it is loaded: {problem}") from None
    if "graph" not in found:
        raise DataError(f"{path} is no ONNX model: it holds no graph; export again")


class _Walk:
    """One pass over a file, and the fields that it may still visit."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def message(self, kind: str, data: memoryview, depth: int) -> set[str]:
        """Look at a message and all below it; the kinds of message that it holds itself."""
        if depth > MAX_DEPTH:
            raise _Broken(f"graphs lie more than {MAX_DEPTH} messages deep")
        if kind == "tensor":
            self._tensor(data)
            return set()
        found = set()
        for number, _, value in self._fields(data):
            if inner := NESTED[kind].get(number):
                found.add(inner)
                self.message(inner, value, depth + 1)
        return found

    def _tensor(self, data: memoryview) -> None:
        dims: list[int] = []
        kind, raw, typed = 0, None, 0
        for number, integer, value in self._fields(data):
            if number == EXTERNAL or (number == LOCATION and integer):
                raise _Broken(f"its weights lie in another file ({bytes(value[:80])!r}); a model holds its weights")
            if number == DIMS:
                dims += list(_varints(value)) if value else [integer]
            elif number == TYPE:
                kind = integer
            elif number == RAW:
                raw = len(value)
            elif number in TYPED:
                typed += len(value) or 8
        _check_size(dims, kind, raw, typed)

    def _fields(self, data: memoryview) -> Iterator[Field]:
        """The fields of one message. Raises _Broken where one reaches beyond its end."""
        at, nothing = 0, data[:0]
        while at < len(data):
            self._left -= 1
            if self._left < 0:
                raise _Broken(f"more than {MAX_FIELDS} fields")
            key, at = _varint(data, at)
            wire, integer, length = key & 7, 0, 0
            if wire == 0:
                integer, at = _varint(data, at)
            elif wire == 2:
                length, at = _varint(data, at)
            elif wire in {1, 5}:
                length = 8 if wire == 1 else 4
            else:
                raise _Broken(f"no protobuf message: wire type {wire}")
            if length > len(data) - at:
                raise _Broken(f"truncated: {length} bytes are declared where {len(data) - at} are left")
            yield key >> 3, integer, data[at : at + length] if length else nothing
            at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An integer of at most 64 bits, and where it ends."""
    value = 0
    for i, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise _Broken("truncated: an integer has no end")


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _check_size(dims: list[int], kind: int, raw: int | None, typed: int) -> None:
    """Hold what a tensor declares against the bytes that are there; a negative side reads as one above 2^63."""
    count = math.prod(dims)
    if raw is not None:
        if kind not in BITS:
            raise _Broken(f"a tensor's raw values are of type {kind}, which has no size")
        if raw != -(-count * BITS[kind] // 8):
            raise _Broken(f"a tensor of shape {dims[:8]} and type {kind} holds {raw} bytes")
    elif count > 2 * typed and kind != STRING:  # a typed value takes a byte at least; of 4 bits, two share one
        raise _Broken(f"a tensor of shape {dims[:8]} declares {count} values in {typed} bytes")
