from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.inspect_openvino import MAX_DEPTH, MAX_XML, check_openvino

PATH = Path("model.xml")


def net(data: str) -> bytes:
    return f'<?xml version="1.0"?><net><layers><layer type="Const"><data {data} /></layer></layers></net>'.encode()


def constant(offset: object = 0, size: object = 12, shape: str = "1, 3", kind: str = "f32") -> bytes:
    return net(f'element_type="{kind}" shape="{shape}" offset="{offset}" size="{size}"')


@pytest.mark.parametrize(
    "xml",
    [
        pytest.param(constant(), id="whole"),
        pytest.param(constant(offset=4, size=8, shape="2"), id="up to the end"),
        pytest.param(constant(size=4, shape=""), id="scalar"),
        pytest.param(constant(size=2, shape="3", kind="u4"), id="two in a byte"),
        pytest.param(constant(size=3, shape="3", kind="f8e4m3"), id="a byte of its own name"),
        pytest.param(constant(size=0, shape="0"), id="nothing"),
        pytest.param(net('destination_type="f32"'), id="no constant"),
    ],
)
def test_a_model_is_let_through(xml: bytes) -> None:
    check_openvino(xml, bytes(12), PATH)


@pytest.mark.parametrize(
    ("xml", "match"),
    [
        pytest.param(constant(offset=1), "bytes 1 to 13 reaches beyond the 12 bytes", id="beyond the end"),
        pytest.param(constant(size=1 << 50), "reaches beyond", id="petabyte"),
        pytest.param(constant(offset=-12), "is no number", id="before the start"),
        pytest.param(constant(offset=10**40), "is no number", id="huge number"),
        pytest.param(constant(size="0x0c"), "is no number", id="hexadecimal"),
        pytest.param(constant(shape="1, 4"), r"shape \[1, 4\] and type f32 lies in 12 bytes", id="one value too many"),
        pytest.param(constant(shape=f"{1 << 40}, {1 << 40}"), "lies in 12 bytes", id="oversized"),
        pytest.param(constant(shape="-1, 3"), "is no number", id="negative side"),
        pytest.param(net('offset="0"'), "is no number", id="no size"),
        pytest.param(constant()[:-20], "refused before it is loaded", id="truncated"),
        pytest.param(b"", "refused before it is loaded", id="empty"),
        pytest.param(b"<net>" * (MAX_DEPTH + 1), "deep", id="deep"),
        pytest.param(b"<!DOCTYPE net>" + b"<net/>", "document type", id="document type"),
        pytest.param(b" " * (MAX_XML + 1), "bytes of XML", id="large"),
        pytest.param(b"<html/>", "no OpenVINO model: its root is 'html'", id="other XML"),
    ],
)
def test_what_is_refused(xml: bytes, match: str) -> None:
    with pytest.raises(DataError, match=match):
        check_openvino(xml, bytes(12), PATH)


@pytest.mark.parametrize(
    "entity",
    [
        pytest.param('<!ENTITY a "1234567890"><!ENTITY b "&a;&a;&a;&a;">', id="grows"),
        pytest.param('<!ENTITY a SYSTEM "file:///etc/passwd">', id="reads a file"),
    ],
)
def test_an_entity_is_never_resolved(entity: str) -> None:
    xml = f'<?xml version="1.0"?><!DOCTYPE net [{entity}]><net>&a;</net>'.encode()
    with pytest.raises(DataError, match="declares a document type"):
        check_openvino(xml, b"", PATH)
