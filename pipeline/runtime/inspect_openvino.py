"""An OpenVINO model looked at before the library reads it: no entities, and no tensor beyond the weights' file.

The format is OpenVINO's intermediate representation: an XML file that describes layers, and a .bin with their weights.
"""

import math
import re
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from pipeline.core.errors import DataError

MAX_XML = 64 * 2**20  # bytes; detectors have one or two MiB
MAX_DEPTH = 64
WHOLE = re.compile(r"\d{1,18}")


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """Why the file is refused."""


def check_openvino(xml: bytes, weights: bytes, path: Path) -> None:
    """Look at a model before it is loaded.

    Args:
        xml: the file that describes the layers.
        weights: the .bin.
        path: the former's name, for messages.

    Raises:
        DataError: the XML is broken, too large or declares a document type, which entities need; or a constant reaches
            beyond the end of the weights, or is larger than what it declares there.
    """
    try:
        root = _walk(xml, len(weights))
    except (_Refused, expat.ExpatError) as problem:
        raise DataError(f"{path} is refused before it is loaded: {problem}") from None
    if root != "net":
        raise DataError(f"{path} is no OpenVINO model: its root is {root!r}; export again")


def _walk(xml: bytes, held: int) -> str:
    """Every element once; the root's name."""
    if len(xml) > MAX_XML:
        raise _Refused(f"more than {MAX_XML} bytes of XML")
    parser = expat.ParserCreate()
    open_elements: list[str] = []
    root: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        root[:] = root or [name]
        open_elements.append(name)
        if len(open_elements) > MAX_DEPTH:
            raise _Refused(f"elements lie more than {MAX_DEPTH} deep")
        if name == "data" and "offset" in attributes:
            _check_constant(attributes, held)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_elements.pop()
    parser.StartDoctypeDeclHandler = _no_document_type
    parser.Parse(xml, True)  # noqa: FBT003 - expat takes it by position
    return root[0]


def _no_document_type(*_: object) -> NoReturn:
    raise _Refused("it declares a document type; entities could read other files or grow without end")


def _check_constant(attributes: dict[str, str], held: int) -> None:
    """Hold where a constant says it lies against the bytes that are there."""
    offset, size = (_whole(attributes.get(name, "")) for name in ("offset", "size"))
    if offset + size > held:
        raise _Refused(f"a constant at bytes {offset} to {offset + size} reaches beyond the {held} bytes of weights")
    shape = [_whole(side) for side in re.split(r"[,\s]+", attributes.get("shape", "").strip()) if side]
    bits = re.search(r"(\d+)", attributes.get("element_type", ""))
    if bits and math.prod(shape) * _width(bits[1]) > 8 * size:
        raise _Refused(f"a constant of shape {shape[:8]} and type {attributes['element_type']} lies in {size} bytes")


def _width(bits: str) -> int:
    """Bits of one value: the number in its type's name, one for what has a name of its own (f8e4m3 and its like)."""
    return int(bits) if bits in {"1", "2", "3", "4", "6", "8", "16", "32", "64"} else 1


def _whole(text: str) -> int:
    if not WHOLE.fullmatch(text):
        raise _Refused(f"{text[:40]!r} is no number of bytes or values")
    return int(text)
