import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.session import open_session
from tests.exports import artifact, brightness_graph

WriteExport = Callable[..., Path]


def test_what_was_chosen_is_said(write_export: WriteExport, tmp_path: Path) -> None:
    assert re.fullmatch(r"ONNX Runtime [\d.]+, fp32, 3 threads", open_session(write_export(tmp_path), threads=3).chosen)


def test_bytes_that_are_no_model_are_refused(write_export: WriteExport, tmp_path: Path) -> None:
    graph = brightness_graph("batch")
    graph.graph.node[0].op_type = "Nothing"
    (write_export(tmp_path) / "model.onnx").write_bytes(graph.SerializeToString())
    entry = {"fp32": artifact(tmp_path / "model.onnx", batch=0)}
    document = json.loads((tmp_path / "contract.json").read_text()) | {"artifacts": entry}
    (tmp_path / "contract.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="no model that ONNX Runtime can load"):
        open_session(tmp_path)


def test_a_batch_that_the_graph_does_not_take(write_export: WriteExport, tmp_path: Path) -> None:
    engine = open_session(write_export(tmp_path), "fp32-b1").engine
    with pytest.raises(DataError, match="does not run on 2 pictures"):
        engine.run(np.zeros((2, 3, 32, 32), np.uint8))
