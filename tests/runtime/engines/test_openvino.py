import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.engines.openvino import settings
from pipeline.runtime.machine import Machine
from pipeline.runtime.session import open_session
from tests.exports import write_openvino

PLAIN, FAST = Machine(4, frozenset({"avx2"})), Machine(4, frozenset({"avx512_bf16"}))


@pytest.fixture
def need_openvino() -> None:
    pytest.importorskip("openvino")


@pytest.mark.usefixtures("need_openvino")
@pytest.mark.parametrize("batch", ["batch", 1, 2])
def test_it_gives_what_onnx_runtime_gives(write_export: Callable[..., Path], tmp_path: Path, batch: str | int) -> None:
    ours = open_session(write_openvino(tmp_path / "intel", batch))
    theirs = open_session(write_export(tmp_path / "cpu"))
    images = [np.full((20 + i, 40, 3), 60 * i, np.uint8) for i in range(4)]
    for a, b in zip(ours.detect_batch(images), theirs.detect_batch(images), strict=True):
        assert a.boxes == pytest.approx(b.boxes, abs=1e-4)
        assert a.scores == pytest.approx(b.scores, abs=1e-6)
        assert a.labels.tolist() == b.labels.tolist()


@pytest.mark.usefixtures("need_openvino")
def test_an_answer_stays_when_the_next_one_comes(tmp_path: Path) -> None:
    engine = open_session(write_openvino(tmp_path / "intel")).engine
    _, first = engine.run(np.full((1, 3, 32, 32), 255, np.uint8))
    engine.run(np.zeros((1, 3, 32, 32), np.uint8))
    assert first.ravel().tolist() == [1.0, 0.0]


@pytest.mark.usefixtures("need_openvino")
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        pytest.param({"batch": 1}, "the contract says input", id="batch"),
        pytest.param({"files": {"model.xml": None}}, "one .bin beside it, the contract names 0", id="no weights"),
    ],
)
def test_a_contract_that_does_not_fit_its_model(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    folder = write_openvino(tmp_path / "intel")
    if files := changes.get("files"):
        digest = re.search(r'"model.xml": "([0-9a-f]{64})"', (folder / "contract.json").read_text())
        assert digest
        changes = {"files": dict.fromkeys(files, digest[1])}
    with pytest.raises(DataError, match=match):
        open_session(write_openvino(tmp_path / "other", changes=changes))


@pytest.mark.parametrize(
    ("precision", "machine", "expected"),
    [
        ("fp32", FAST, "f32"),
        ("fp32", PLAIN, "f32"),
        ("bf16", FAST, "bf16"),
        ("bf16", PLAIN, "f32"),
        ("int8", FAST, "f32"),
        ("int8", PLAIN, "f32"),
    ],
)
def test_bfloat16_is_used_where_the_artifact_and_the_machine_have_it(
    precision: str, machine: Machine, expected: str
) -> None:
    assert settings(precision, machine, 0, 1)["INFERENCE_PRECISION_HINT"] == expected


@pytest.mark.parametrize(
    ("threads", "streams", "expected"),
    [
        pytest.param(0, 1, ("LATENCY", 1, 4), id="one camera"),
        pytest.param(2, 1, ("LATENCY", 1, 2), id="two threads"),
        pytest.param(0, 4, ("THROUGHPUT", 4, 4), id="four cameras"),
        pytest.param(2, 4, ("THROUGHPUT", 4, 8), id="two threads each"),
    ],
)
def test_threads_and_streams(threads: int, streams: int, expected: tuple[str, int, int]) -> None:
    chosen = settings("fp32", PLAIN, threads, streams)
    assert (chosen["PERFORMANCE_HINT"], chosen["NUM_STREAMS"], chosen["INFERENCE_NUM_THREADS"]) == expected


@pytest.mark.usefixtures("need_openvino")
def test_what_was_chosen_is_said(tmp_path: Path) -> None:
    chosen = open_session(write_openvino(tmp_path / "intel"), threads=1).chosen
    assert re.fullmatch(r"OpenVINO [\d.]+, fp32, 1 threads in 1 streams, for latency", chosen)
