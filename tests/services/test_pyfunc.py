import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.services.pyfunc import COLUMNS, pictures
from pipeline.services.tracking import add_version, connect, experiment_id, log_model

WriteExport = Callable[..., Path]


@pytest.fixture
def registered(mlflow_store: str, write_export: WriteExport, tmp_path: Path) -> str:
    """Address of a registered model."""
    client = connect()
    knots = {"vehicle": [[0.0, 0.0], [1.0, 0.5]]}
    run = client.create_run(experiment_id(client, "site"))
    uri = log_model(run.info.run_id, write_export(tmp_path / "export", confidence=knots))
    version = add_version(uri, "site", {"mark": "1"})
    client.set_registered_model_alias("site", "challenger", str(version.version))
    return "models:/site@challenger"


def grey(value: int) -> NDArray[np.uint8]:
    return np.full((32, 32, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(grey(255), [(0, "person", 1.0, True)], id="picture"),
        pytest.param(
            np.stack([grey(255), grey(204)]),
            [(0, "person", 1.0, True), (1, "person", 0.8, True), (1, "vehicle", 0.2, False)],
            id="stack",
        ),
        pytest.param(
            [grey(255)[:16], grey(0)],  # half of the first input is bars of grey 114
            [(0, "person", 0.724, True), (0, "vehicle", 0.276, True), (1, "vehicle", 1.0, True)],
            id="sizes",
        ),
        pytest.param(grey(255).astype(np.int64), [(0, "person", 1.0, True)], id="whole numbers"),
    ],
)
def test_a_loaded_model_predicts(registered: str, given: Any, expected: list[tuple[int, str, float, bool]]) -> None:
    found = mlflow.pyfunc.load_model(registered).predict(given)
    assert tuple(found.columns) == COLUMNS
    rows = found[["image", "label", "score", "above_threshold"]].itertuples(index=False, name=None)
    assert [(i, name, round(score, 3), above) for i, name, score, above in rows] == expected
    halved = np.where(found["label"] == "vehicle", found["score"] / 2, found["score"])
    assert found["confidence"].to_numpy() == pytest.approx(halved)
    assert found[["x1", "x2"]].to_numpy().tolist() == [[8, 24]] * len(expected)


def test_it_loads_where_the_project_is_not(registered: str, mlflow_store: str, tmp_path: Path) -> None:
    code = (
        "import importlib.util, json, pathlib, sys\n"
        "sys.path = [p for p in sys.path if not (pathlib.Path(p) / 'pipeline').is_dir()]\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()]\n"
        "assert importlib.util.find_spec('pipeline') is None\n"
        "import mlflow, numpy\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "found = model.predict(numpy.full((64, 64, 3), 255, numpy.uint8))\n"
        "print(json.dumps([found.to_dict('records'), 'torch' in sys.modules]))"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_store}
    command = [sys.executable, "-I", "-c", code, registered]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,), torch_came = json.loads(done.stdout)
    box = {"x1": 16.0, "y1": 16.0, "x2": 48.0, "y2": 48.0}
    said = {"image": 0, "label": "person", "score": 1.0, "confidence": 1.0, "above_threshold": True}
    assert row == {**said, **box}
    assert not torch_came


def test_the_model_carries_its_needs_and_nothing_else(registered: str, tmp_path: Path) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(registered, dst_path=str(tmp_path / "model")))
    needs = {line.partition("==")[0] for line in (folder / "requirements.txt").read_text().splitlines()}
    assert needs == {"mlflow", "numpy", "onnxruntime", "opencv-python-headless", "pandas", "pydantic"}
    assert sorted(path.name for path in (folder / "code/pipeline").iterdir()) == ["__init__.py", "core", "runtime"]
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".pyc"}]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(np.zeros((4, 4, 3), np.float32), id="floats"),
        pytest.param(np.full((4, 4, 3), 256), id="above 255"),
        pytest.param(np.full((4, 4, 3), -1), id="below 0"),
        pytest.param("picture.jpg", id="path"),
        pytest.param([[0.5, 1.5]], id="nested floats"),
    ],
)
def test_what_is_no_picture_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="expected"):
        pictures(value)
