"""What several test files share: an exported model whose answers can be worked out by hand, and an MLflow store."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.exports import artifact, brightness_graph, contract_of


@pytest.fixture
def write_export() -> Callable[..., Path]:
    """Writes model.onnx, model-b1.onnx and contract.json into a folder; keywords replace keys of the contract."""

    def write(folder: Path, **changes: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        files = {"model.onnx": brightness_graph("batch"), "model-b1.onnx": brightness_graph(1)}
        for name, model in files.items():
            (folder / name).write_bytes(model.SerializeToString())
        contract = contract_of(
            {
                "fp32": artifact(folder / "model.onnx", batch=0),
                "fp32-b1": artifact(folder / "model-b1.onnx", batch=1),
            }
        )
        (folder / "contract.json").write_text(json.dumps(contract | changes))
        return folder

    return write


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with its tables and nothing in them; making one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    code = "import sys; from pipeline.services.tracking import connect; connect().search_experiments()"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{path}"}
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], env=environment, check=True)
    return path


@pytest.fixture
def mlflow_store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a store of this test's own; the environment names it."""
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(sys, "path", sys.path[:])  # a loaded model puts its own copy of our code in front
    yield uri
    import mlflow  # noqa: PLC0415 - only the tests that use it pay for the import

    mlflow.set_tracking_uri("")
