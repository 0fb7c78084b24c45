import json
from pathlib import Path
from typing import get_args

import pytest
import torch

from pipeline.core.errors import DataError
from pipeline.core.params import ModelParams
from pipeline.modeling.state import save_tensors
from pipeline.modeling.zoo import BUILDERS, build, load


def save(folder: Path, name: str = "nano", **changes: object) -> None:
    model = build("nano", 2, (64, 64), "none")
    save_tensors(folder / "best.safetensors", model.state_dict())
    card = {"name": name, "classes": ["person", "vehicle"], "width": 64, "height": 64}
    (folder / "model.json").write_text(json.dumps(card | changes))


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save(tmp_path)
    torch.manual_seed(1)
    fresh = build("nano", 2, (64, 64), "none").eval()
    images = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(fresh(images)[1], load(tmp_path)(images)[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"name": "yolo"}, "knows nano", id="unknown architecture"),
        pytest.param({"width": "wide"}, "describes no model", id="wrong type"),
        pytest.param({"name": "ssdlite"}, "does not fit", id="other architecture's weights"),
    ],
)
def test_a_folder_that_holds_no_model(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    save(tmp_path, **changes)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_missing_model_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro train"):
        load(tmp_path)


def test_every_detector_can_be_chosen() -> None:
    options = {path.stem for path in (Path(__file__).parents[2] / "conf/model").glob("*.yaml")}
    assert set(get_args(ModelParams.model_fields["name"].annotation)) == set(BUILDERS) == options


@pytest.mark.parametrize("name", BUILDERS)
def test_every_detector_keeps_the_interface(name: str) -> None:
    model = build(name, 3, (96, 64), "none").eval()
    with torch.inference_mode():
        boxes, scores = model(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    assert boxes.shape[0] == 2
    assert boxes.shape[2] == 4
    assert scores.shape == (*boxes.shape[:2], 3)
    assert boxes.dtype == scores.dtype == torch.float32
    assert float(scores.min()) >= 0
    assert float(scores.max()) <= 1
